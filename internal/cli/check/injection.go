// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import (
	"fmt"
	"time"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/names"
)

func webhookRoots(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionInjection, facts.UnreadWebhooks); done {
		return missed
	}
	if _, there := f.ActiveMesh(); !there {
		return nil
	}
	if len(f.Webhooks) == 0 {
		return found(SectionInjection, Problem, "there is no injection webhook: new pods start without a proxy",
			"kubectl describe tmesh, which says what it waits for")
	}
	var out []Finding
	for _, w := range f.Webhooks {
		if w.RootsEnd.IsZero() || !w.RootsEnd.After(f.At) {
			out = append(out, found(SectionInjection, Problem,
				fmt.Sprintf("webhook %s has no certificate that is still good: the API server can't call it", w.Name),
				"look at the operator's logs; it keeps the CA bundle current")...)
		}
	}
	return out
}

func webhookEndpoints(f facts.Facts) []Finding {
	if len(f.Webhooks) == 0 {
		return nil
	}
	var dead []string
	for _, w := range f.Webhooks {
		if w.Endpoints == 0 {
			dead = append(dead, w.Service)
		}
	}
	if len(dead) > 0 {
		return found(SectionInjection, Problem,
			"nobody serves the webhook at "+few(dead)+": pods that ask for a proxy can't start; others can",
			"kubectl -n "+f.System+" get pods,endpointslices")
	}
	return ok(SectionInjection, "the webhook is served")
}

func podSecurity(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionInjection, facts.UnreadNamespaces); done {
		return missed
	}
	var out []Finding
	for _, n := range f.Namespaces {
		if n.Enforce == "baseline" || n.Enforce == "restricted" {
			out = append(out, found(SectionInjection, Problem,
				fmt.Sprintf("namespace %s enforces Pod Security %s, which forbids the init container that redirects traffic", n.Name, n.Enforce),
				"kubectl label --overwrite namespace "+n.Name+" pod-security.kubernetes.io/enforce=privileged, or take "+
					names.LabelInject+" off the namespace")...)
		}
	}
	return out
}

// settle is how long a new pod may lack a proxy before it is a finding: it may just have been made.
const settle = 30 * time.Second

func bareProxies(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionInjection, facts.UnreadPods); done {
		return missed
	}
	var bare []string
	for _, p := range f.Bare {
		if f.At.Sub(p.Created) > settle {
			bare = append(bare, p.Namespace+"/"+p.Name)
		}
	}
	if len(bare) == 0 {
		return nil
	}
	return found(SectionInjection, Warning, "these pods ask for a proxy and have none: "+few(bare),
		"restart them (kubectl rollout restart), or label them "+names.LabelInject+"="+names.InjectDisabled+
			"; pods on the host's network can't have a proxy")
}

func bypasses(f facts.Facts) []Finding {
	var open []string
	for _, p := range f.Proxies {
		if len(p.Warnings) > 0 {
			open = append(open, p.Namespace+"/"+p.Name+" ("+p.Warnings[0]+")")
		}
	}
	if len(open) == 0 {
		return nil
	}
	return found(SectionInjection, Warning, "these pods could go round their proxy: "+few(open),
		"take the privilege away from the container where it is not needed")
}
