// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import (
	"fmt"

	"tulle.dev/tulle/internal/cli/facts"
)

func proxiesReady(f facts.Facts) []Finding {
	if _, missed := f.Missed(facts.UnreadPods); missed {
		return nil // said by bareProxies
	}
	var down []string
	ready := 0
	for _, p := range f.Proxies {
		if p.Ready {
			ready++
		}
		if !p.Ready && f.At.Sub(p.Created) > settle {
			down = append(down, named(p.Namespace, p.Name, p.Message))
		}
	}
	if len(down) > 0 {
		return found(SectionProxies, Warning, "not ready: "+few(down), "kubectl -n NAMESPACE describe pod POD; tulle proxy config POD")
	}
	if len(f.Proxies) == 0 {
		return ok(SectionProxies, "no pod carries a proxy yet")
	}
	return ok(SectionProxies, "%s a proxy, %d ready", count(len(f.Proxies), "pod carries", "pods carry"), ready)
}

func proxiesUpToDate(f facts.Facts) []Finding {
	m, there := f.ActiveMesh()
	if !there {
		return nil
	}
	var old []string
	for _, p := range f.Proxies {
		if p.Version != m.Spec.Version {
			old = append(old, fmt.Sprintf("%s/%s (%s)", p.Namespace, p.Name, orUnknown(p.Version)))
		}
	}
	if len(old) == 0 {
		return nil
	}
	return found(SectionProxies, Warning, fmt.Sprintf("not at version %s: %s", m.Spec.Version, few(old)), "kubectl rollout restart their owners")
}

func proxiesConnected(f facts.Facts) []Finding {
	if len(f.Proxies) == 0 || len(f.ControlPlane) == 0 {
		return nil
	}
	if missed, done := unread(f, SectionProxies, facts.UnreadControlPlane); done {
		return missed
	}
	connected := map[string]bool{}
	for _, s := range f.Streams {
		connected[s.Namespace+"/"+s.Pod] = true
	}
	var alone, empty []string
	for _, p := range f.Proxies {
		key := p.Namespace + "/" + p.Name
		switch {
		case connected[key] || f.At.Sub(p.Created) <= settle:
		case p.Started:
			alone = append(alone, key)
		default:
			empty = append(empty, key)
		}
	}
	var out []Finding
	if len(alone) > 0 {
		out = found(SectionProxies, Warning, "not connected to the control plane, and working with the last configuration they got: "+few(alone),
			"kubectl -n NAMESPACE logs POD -c tulle-proxy-a")
	}
	if len(empty) > 0 {
		out = append(out, found(SectionProxies, Warning, "not connected to the control plane, and without a configuration since they started: "+few(empty),
			"kubectl -n NAMESPACE describe pod POD")...)
	}
	if len(out) > 0 {
		return out
	}
	return ok(SectionProxies, "all are connected to the control plane")
}

func rejections(f facts.Facts) []Finding {
	var out []Finding
	for _, s := range f.Streams {
		if s.Rejected > 0 && len(s.Nacks) == 0 {
			out = append(out, found(SectionProxies, Problem, fmt.Sprintf("%s/%s refuses %s", s.Namespace, s.Pod, count(s.Rejected, "resource", "resources")),
				fmt.Sprintf("tulle proxy config %s/%s shows Envoy's words; so does the status of the route", s.Namespace, s.Pod))...)
		}
		for _, n := range s.Nacks {
			out = append(out, found(SectionProxies, Problem, fmt.Sprintf("%s/%s refuses %s: %s", s.Namespace, s.Pod, n.Name, n.Message),
				"look at the status of the route or Service it was made from; the proxy keeps the last version it took")...)
		}
	}
	return out
}

func named(namespace, name, why string) string {
	s := namespace + "/" + name
	if why != "" {
		s += " (" + why + ")"
	}
	return s
}
