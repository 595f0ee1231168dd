// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/pipeline"
	"tulle.dev/tulle/internal/controlplane/rights"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/controlplane/xds"
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

// streams are the namespaces of those that subscribe to a cluster, by its name.
type streams map[string][]string

var _ status.Acks = streams(nil)

func (s streams) Acks(k xds.Key) (needed, acked int, nacks []xds.Nack) { return len(s[k.Name]), 0, nil }

func (s streams) Subscribers(k xds.Key, see func(xds.Subscriber) bool) {
	for _, ns := range s[k.Name] {
		if !see(xds.Subscriber{Principal: connected{Proxy: rights.Proxy{Namespace: ns}}}) {
			return
		}
	}
}

// TestDialers: the graph is told the namespaces of the proxies that ask for an address, each once.
func TestDialers(t *testing.T) {
	a := newAsked()
	a.dial(connected{}, envoy.ClusterType, []string{"to/10.0.0.1:80", "to/10.0.0.2:80", "out/shop/web/80"})
	one, two := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:80")
	got := a.look(streams{"to/10.0.0.1:80": {"shop", "bank", "shop"}})
	want := pipeline.Inputs{
		Asked:   map[names.Target]bool{},
		Dialled: map[netip.AddrPort]bool{one: true, two: false},
		Dialers: map[netip.AddrPort][]string{one: {"bank", "shop"}, two: nil},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

// TestDialsInTurns: a namespace that asks for thousands of addresses at once does not hold up another one, and all
// are looked at in the end, in order.
func TestDialsInTurns(t *testing.T) {
	a := newAsked()
	from := func(ns string) connected { return connected{Proxy: rights.Proxy{Namespace: ns}} }
	var many []string
	for port := range 4 * dialsAtOnce {
		many = append(many, fmt.Sprintf("to/10.7.0.1:%d", 1+port))
	}
	a.dial(from("evil"), envoy.ClusterType, many)
	a.dial(from("shop"), envoy.ClusterType, []string{"to/10.0.0.1:80"})
	a.touch([]xds.Key{{TypeURL: envoy.ClusterType, Name: "to/10.0.0.2:80"}})
	a.dial(from("evil"), envoy.ClusterType, many[:10]) // they wait already
	for n := range 4 {
		<-a.news
		got := a.look(streams{}).Dialled
		want := dialsAtOnce
		if n == 0 {
			for _, d := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
				if _, ok := got[netip.MustParseAddrPort(d)]; !ok {
					t.Errorf("%s is not in the first look", d)
				}
				want++
			}
		}
		if _, ok := got[netip.MustParseAddrPort(many[n*dialsAtOnce][len("to/"):])]; len(got) != want || !ok {
			t.Errorf("look %d has %d addresses, want the next %d", n, len(got), want)
		}
	}
	select {
	case <-a.news:
		t.Error("there is more")
	default:
	}
	if len(a.dialled) > 0 {
		t.Errorf("%d are kept", len(a.dialled))
	}
}
