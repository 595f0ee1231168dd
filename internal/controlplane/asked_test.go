// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"crypto/tls"
	"fmt"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/dataplane/identity"
	"tulle.dev/tulle/internal/names"
)

// onDemand is what there is of destinations.
func (p *plane) onDemand() (list []string) {
	for _, kind := range resourceTypes() {
		for _, r := range p.feed.store.List(kind.URL) {
			if names.IsOnDemand(r.Name) {
				list = append(list, r.Key.String())
			}
		}
	}
	return list
}

// TestDialled: a destination is made when a proxy asks for it, follows what is there, and goes with the
// last proxy that asked.
func TestDialled(t *testing.T) {
	p := newPlane(t)
	p.send(p.pod("shop", "client", "client", names.KindSidecar))
	cert, err := p.signerFor("shop", "client", "client").Sign(t.Context(), 0)
	p.must(err)
	roots, err := identity.ReadRoots(p.trust)
	p.must(err)
	conn, err := grpc.NewClient(p.ads, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert.TLS}, RootCAs: roots, ServerName: "localhost",
	})))
	p.must(err)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(t.Context())
	p.must(err)
	if list := p.onDemand(); len(list) > 0 {
		t.Errorf("made before anything asks: %v", list)
	}
	const meshed, other, wrong = "to/127.0.0.1:7000", "to/127.0.0.9:7000", "to/127.0.0.1:07000"
	p.must(stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ClusterType, ResourceNamesSubscribe: []string{meshed, other, wrong}}))
	encrypted := map[string]bool{}
	for len(encrypted) < 2 {
		r, err := stream.Recv()
		p.must(err)
		for _, x := range r.GetResources() {
			c := &clusterv3.Cluster{}
			p.must(x.GetResource().UnmarshalTo(c))
			encrypted[x.GetName()] = c.GetTransportSocket() != nil
		}
		p.must(stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}))
	}
	if !encrypted[meshed] || encrypted[other] {
		t.Errorf("mutual TLS to %v, want to the meshed pod alone", encrypted)
	}
	if list := p.onDemand(); len(list) != 3 {
		t.Errorf("made: %v, want two clusters and one secret", list)
	}
	p.must(conn.Close())
	eventually(t, "nothing is kept for nobody", func() error {
		if list := p.onDemand(); len(list) > 0 {
			return fmt.Errorf("%v", list)
		}
		return nil
	})
}
