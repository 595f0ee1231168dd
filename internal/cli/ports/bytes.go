// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ports

import (
	"cmp"
	"fmt"
	"slices"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
)

// Port is a port of a Service.
type Port struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Port      uint16 `json:"port"`
	// Name is empty where the only port of a Service has none.
	Name string `json:"name,omitempty"`
}

// String spells SERVICE:PORT (NAME), without the namespace.
func (p Port) String() string {
	s := fmt.Sprintf("%s:%d", p.Service, p.Port)
	if p.Name != "" {
		s += " (" + p.Name + ")"
	}
	return s
}

// Bytes returns the ports of Services with meshed pods behind them that are carried as bytes because
// nothing says what they speak: not appProtocol, not the name or the number of the port, and no route or
// BackendTLSPolicy of the Service. They are sorted by namespace, Service and port.
func Bytes(w World) []Port {
	v := viewOf(w)
	var out []Port
	for _, s := range w.Services {
		for _, p := range v.resolved(s.Key) {
			if !p.Port.Declared && !v.spoken(s.Key, p.Port) {
				out = append(out, Port{s.Namespace, s.Name, p.Port.Port, p.Port.Name})
			}
		}
	}
	slices.SortFunc(out, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Port, b.Port))
	})
	return out
}

// spoken tells whether a route or a policy says what an undeclared port speaks, be it that it is bytes.
func (v *view) spoken(service model.Key, p model.ServicePort) bool {
	if proto, ok := gatewayapi.PortProtocol(v, model.PortKey{Service: service, Port: p.Port}); ok && proto != model.TCP {
		return true
	}
	on := model.Object{Kind: gatewayapi.KindService, Namespace: service.Namespace, Name: service.Name}
	attached := func(r *gatewayapi.Route) bool {
		return r.IsOpaque() && r.ID().Namespace == service.Namespace && r.Attaches(v.services[service], p)
	}
	if slices.ContainsFunc(v.Routes(gatewayapi.OfKind[model.Object]{To: on}), attached) {
		return true
	}
	return v.BackendTLS(service, p.Name)
}
