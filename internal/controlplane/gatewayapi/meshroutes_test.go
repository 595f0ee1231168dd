// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"slices"

	"tulle.dev/tulle/internal/controlplane/model"
)

// EffectiveAlone is MeshRoutes for one port and the routes of one namespace, from all routes of the Service.
func EffectiveAlone(l Lookup, svc model.Service, p model.ServicePort, namespace string) []*Route {
	if noFrontend(svc) != "" {
		return nil
	}
	out := slices.DeleteFunc(onService(l, svc.Key), func(r *Route) bool {
		return r.source.Namespace != namespace || !r.valid() || !r.Attaches(svc, p)
	})
	slices.SortFunc(out, func(a, b *Route) int { return cmp.Or(cmp.Compare(a.precedence, b.precedence), older(a, b)) })
	if i := slices.IndexFunc(out, func(r *Route) bool { return r.precedence != out[0].precedence }); i >= 0 {
		out = out[:i]
	}
	return out
}

// RivalAlone is the route that keeps r from having an effect on a port, from those that decide for it; nil if none does.
func RivalAlone(l Lookup, r *Route, svc model.Service, p model.ServicePort) *Route {
	w := EffectiveAlone(l, svc, p, r.source.Namespace)
	switch {
	case !r.valid() || r.precedence == 0 || !r.Attaches(svc, p) || len(w) == 0:
		return nil
	case w[0].source.Kind != r.source.Kind, r.IsOpaque() && !takes(meshClaims(w), r):
		return w[0]
	}
	return nil
}

// Deciding are the routes of a namespace that decide for a port.
func (m MeshRoutes) Deciding(port uint16, namespace string) []*Route { return m.of(port, namespace) }

// RivalOn is the route that keeps another from having an effect on a port.
func (m MeshRoutes) RivalOn(r *Route, port uint16) (by model.Object) {
	if x, ok := rivalOn(m.rivals[r.source], port); ok {
		by = x.source
	}
	return by
}
