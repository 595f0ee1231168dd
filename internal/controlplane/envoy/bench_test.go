// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy_test

import (
	"fmt"
	"net/netip"
	"testing"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
)

// BenchmarkTranslate is the cost of one resource of each kind, bytes included; its size is in B/body.
func BenchmarkTranslate(b *testing.B) {
	key := model.PortKey{Service: model.Key{Namespace: "shop", Name: "cart"}, Port: 80}
	table := model.RouteTable{Name: "out/shop/cart/80", Hosts: []model.VirtualHost{{Domains: []string{"*"}}}}
	for i := range 10 {
		table.Hosts[0].Rules = append(table.Hosts[0].Rules, model.Rule{
			Match:    model.Match{Path: model.PathMatch{Kind: model.PathPrefix, Value: fmt.Sprintf("/r%d", i)}},
			Backends: []model.WeightedBackend{{Backend: key, Weight: 90}, {Backend: key, Weight: 10}},
		})
	}
	ends := model.Endpoints{Key: key}
	for i := range 100 {
		ends.List = append(ends.List, model.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 0, byte(i)}), 80), Meshed: true})
	}
	for name, f := range map[string]func() envoy.Resource{
		"Listener": func() envoy.Resource {
			return envoy.Listener(model.Frontend{Key: key, Addresses: []string{"198.19.0.1"}, Protocol: model.HTTP})
		},
		"Routes10": func() envoy.Resource { return envoy.Routes(table) },
		"Cluster": func() envoy.Resource {
			return envoy.Cluster(model.Backend{Key: key, Protocol: model.HTTP, Transport: model.MeshOnly})
		},
		"Endpoints100": func() envoy.Resource { return envoy.Endpoints(ends) },
		"Inbound2": func() envoy.Resource {
			return envoy.Inbound(model.Inbound{Ports: []model.InboundPort{{Port: 80, Protocol: model.HTTP}, {Port: 81, Protocol: model.TCP}}})
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				body, err := f().Body()
				if err != nil {
					b.Fatal(err)
				}
				size = len(body)
			}
			b.ReportMetric(float64(size), "B/body")
		})
	}
}
