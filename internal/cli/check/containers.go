// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import (
	"fmt"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/names"
)

// asProxy finds containers that are the proxy for the redirection. At the creation of the pod nobody knew: the
// image says so.
func asProxy(f facts.Facts) []Finding {
	var open []string
	for _, p := range f.Proxies {
		for _, c := range p.Containers {
			if c.User == names.ProxyUID {
				open = append(open, fmt.Sprintf("%s/%s (container %s)", p.Namespace, p.Name, c.Name))
			}
		}
	}
	if len(open) == 0 {
		return nil
	}
	return found(SectionInjection, Warning,
		fmt.Sprintf("containers run as user %d, which is the proxy's, so their traffic goes round it: %s", names.ProxyUID, few(open)),
		"set securityContext.runAsUser to another user")
}

// anyUser counts containers that could become the proxy's user. It is what a container has by default, so it is
// one notice for all.
func anyUser(f facts.Facts) []Finding {
	each := map[string]int{}
	all := 0
	for _, p := range f.Proxies {
		for _, c := range p.Containers {
			if c.BecomesAnyUser {
				each[p.Namespace]++
				all++
			}
		}
	}
	if all == 0 {
		return nil
	}
	var where []string
	for ns, n := range each {
		where = append(where, fmt.Sprintf("%s (%d)", ns, n))
	}
	return found(SectionInjection, Notice,
		count(all, "container", "containers")+" of meshed pods may run as root with CAP_SETUID or CAP_NET_RAW and can then go round their own proxy; by namespace: "+few(where),
		"where that matters, set runAsNonRoot: true and capabilities: {drop: [ALL]} in their securityContext")
}

// openHooks finds hooks that any client can run. Pods keep what injection wrote for as long as they live.
func openHooks(f facts.Facts) []Finding {
	var open []string
	for _, p := range f.Proxies {
		for _, c := range p.Containers {
			for _, hook := range c.OpenHooks {
				open = append(open, fmt.Sprintf("%s/%s (%s of container %s)", p.Namespace, p.Name, hook, c.Name))
			}
		}
	}
	if len(open) == 0 {
		return nil
	}
	return found(SectionInjection, Warning,
		"any client that reaches the pod can run these lifecycle hooks, because an earlier release injected the pods: "+few(open),
		"restart them (kubectl rollout restart): this release gives hooks a path that cannot be guessed")
}
