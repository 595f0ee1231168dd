// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"slices"
	"strings"

	"tulle.dev/tulle/internal/controlplane/model"
)

// SendingGateways are the Gateways, of whatever class, whose routes for requests send to a Service port and may.
func SendingGateways(l Lookup, port model.PortKey) (gateways []model.Key) {
	for _, k := range RouteKinds() {
		if k.IsOpaque() {
			continue
		}
		for _, r := range l.Senders(port, k.Name) {
			if mayRefer(l, grantee{k.Name, r.source.Namespace}, KindService, port.Service) {
				gateways = append(gateways, r.gateways(l)...)
			}
		}
	}
	return gateways
}

// gateways are the Gateways, of whatever class, that a route names, or that its ListenerSets name.
func (r *Route) gateways(l Lookup) (out []model.Key) {
	for _, to := range r.Parents() {
		key := model.Key{Namespace: to.Namespace, Name: to.Name}
		switch to.Kind {
		case KindGateway:
			out = append(out, key)
		case KindListenerSet:
			if set, ok := l.ListenerSet(key); ok {
				if gw, ok := ListenerSetGateway(set); ok {
					out = append(out, gw)
				}
			}
		}
	}
	return out
}

// OurGateways are those of the Gateways that are ours, each once, sorted. It changes the list.
func OurGateways(l Lookup, gateways []model.Key) []model.Key {
	slices.SortFunc(gateways, func(a, b model.Key) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return slices.DeleteFunc(slices.Compact(gateways), func(k model.Key) bool {
		_, ours := gatewayOf(l, k)
		return !ours
	})
}
