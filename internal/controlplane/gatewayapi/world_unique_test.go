// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"fmt"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
)

// distinct drops objects with the name of another, and what no API server stores: names are unique
// and not empty, and so are the names of a Gateway's listeners and the ports of a Service.
func (w *world) distinct() {
	w.services = unique(w.services, func(s model.Service) string { return id(s.Namespace, s.Name) })
	for i := range w.services {
		w.services[i].Ports = unique(w.services[i].Ports, func(p model.ServicePort) string { return fmt.Sprint(p.Port) })
	}
	w.gateways = unique(w.gateways, func(g *gwapiv1.Gateway) string { return id(g.Namespace, g.Name) })
	for _, g := range w.gateways {
		g.Spec.Listeners = unique(g.Spec.Listeners, func(l gwapiv1.Listener) string { return string(l.Name) })
	}
	w.sets = unique(w.sets, func(s *gwapiv1.ListenerSet) string { return id(s.Namespace, s.Name) })
	for _, s := range w.sets {
		s.Spec.Listeners = unique(s.Spec.Listeners, func(l gwapiv1.ListenerEntry) string { return string(l.Name) })
	}
	w.routes = unique(w.routes, func(r *gatewayapi.Route) string { return id(r.ID().Kind+" "+r.ID().Namespace, r.ID().Name) })
	w.policies = unique(w.policies, func(p *policy.Policy) string { return id(p.ID().Kind+" "+p.ID().Namespace, p.ID().Name) })
}

func id(namespace, name string) string {
	if namespace == "" || name == "" {
		return ""
	}
	return namespace + "/" + name
}

func unique[T any](in []T, name func(T) string) []T {
	seen := map[string]bool{"": true}
	var out []T
	for _, v := range in {
		if n := name(v); !seen[n] {
			seen[n] = true
			out = append(out, v)
		}
	}
	return out
}
