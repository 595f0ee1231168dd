// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy_test

import (
	"flag"
	"net/netip"
	"os"
	"testing"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/xdsyaml"
)

var record = flag.String("record", "", "write what this release makes of a client and a server into that file")

// TestRecordPair makes the configuration of a client and a server, of three Services that speak HTTP, gRPC and
// bytes, but for their certificates. "bin/images record" runs it in the sources of the previous release, and
// test/envoy TestBetweenReleases puts one side of that release opposite to one of this.
func TestRecordPair(t *testing.T) {
	out := append(envoy.Common(model.Settings{}), envoy.Inbound(model.Inbound{
		Pod: model.Key{Namespace: "shop", Name: "server"}, Strict: true, Ports: []model.InboundPort{
			{Port: 3306, Protocol: model.TCP}, {Port: 8080, Protocol: model.HTTP}, {Port: 9090, Protocol: model.GRPC},
		},
	}))
	for _, s := range []struct {
		name, vip string
		protocol  model.Protocol
		port      uint16
	}{{"http", "198.19.9.1", model.HTTP, 8080}, {"rpc", "198.19.9.2", model.GRPC, 9090}, {"bytes", "198.19.9.3", model.TCP, 3306}} {
		key := model.PortKey{Service: model.Key{Namespace: "shop", Name: s.name}, Port: 80}
		self := []model.WeightedBackend{{Backend: key, Weight: 1}}
		out = append(out,
			envoy.Cluster(model.Backend{Key: key, Protocol: s.protocol, Transport: model.MeshOnly}),
			envoy.Endpoints(model.Endpoints{Key: key, List: []model.Endpoint{{Addr: netip.AddrPortFrom(netip.MustParseAddr("198.18.9.11"), s.port), Meshed: true}}}),
			envoy.Listener(model.Frontend{Key: key, Addresses: []string{s.vip}, Protocol: s.protocol, Backends: self}),
		)
		if s.protocol.IsHTTP() {
			name := names.Out{Namespace: "shop", Service: s.name, Port: 80}.String()
			out = append(out, envoy.Routes(model.RouteTable{Name: name, Hosts: []model.VirtualHost{{Domains: []string{"*"}, Rules: []model.Rule{{Backends: self}}}}}))
		}
	}
	text, err := xdsyaml.Encode(out)
	if err != nil {
		t.Fatal(err)
	}
	if *record == "" {
		return
	}
	if err := os.WriteFile(*record, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
