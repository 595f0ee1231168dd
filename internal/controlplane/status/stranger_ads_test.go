// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/xds"
)

const (
	listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	clusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
)

// TestStrangerOverADS: an intruder with a stream of its own on the real ADS server asks for a backend of a
// route and rejects it with words of its choice, or never answers. The Gateway's proxy has acknowledged the
// route, and that is what its status says; and when the Gateway's proxy rejects it, its words are shown.
func TestStrangerOverADS(t *testing.T) {
	store := xds.NewStore(xds.Type{URL: clusterType}, xds.Type{URL: listenerType})
	listener, cluster := xds.Key{TypeURL: listenerType, Name: "gw/infra/edge/80"}, xds.Key{TypeURL: clusterType, Name: "out/shop/cart/80"}
	commit := func(version string) {
		t.Helper()
		if _, err := store.Commit(xds.Set(xds.Resource{Key: listener, Version: version}), xds.Set(xds.Resource{Key: cluster, Version: version})); err != nil {
			t.Fatal(err)
		}
	}
	commit("1")
	touched := make(chan struct{}, 100)
	srv, err := xds.NewServer(store, xds.Options{
		Authenticate: func(ctx context.Context) (xds.Principal, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			return pod{md.Get("namespace")[0], md.Get("pod")[0], md.Get("gateway")[0]}, nil
		},
		Authorize:     func(xds.Principal, xds.Key) bool { return true },
		ProgressDelay: time.Millisecond,
		OnProgress:    func([]xds.Key) { touched <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	// proxy opens a stream; answer says what to answer to a response: nil and true to acknowledge it, false for
	// silence.
	proxy := func(who pod, keys []xds.Key, answer func() (*statuspb.Status, bool)) {
		t.Helper()
		conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		ctx := metadata.AppendToOutgoingContext(t.Context(), "namespace", who.namespace, "pod", who.name, "gateway", who.gateway)
		stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: k.TypeURL, ResourceNamesSubscribe: []string{k.Name}}); err != nil {
				t.Fatal(err)
			}
		}
		go func() {
			for {
				r, err := stream.Recv()
				if err != nil {
					return
				}
				if detail, speaks := answer(); speaks {
					_ = stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce(), ErrorDetail: detail})
				}
			}
		}()
	}
	accepts := func() (*statuspb.Status, bool) { return nil, true }
	verdict := func(what string, want func(Outcome) bool) {
		t.Helper()
		need := Requirement{
			Config: "c", Generation: 1, Lead: []xds.Key{listener}, Follow: []xds.Key{{}}, Rest: []xds.Key{cluster},
			Near: Near{Namespaces: []string{"shop"}, Gateway: model.Key{Namespace: "infra", Name: "edge"}},
		}
		deadline := time.After(20 * time.Second)
		for {
			l := NewLedger(srv, "1")
			s := Subject{Kind: "HTTPRoute"}
			l.Require(s, need)
			o, _ := Judge(Outcome{}, l.progress[s].Progress, 0)
			if want(o) {
				return
			}
			select {
			case <-touched:
			case <-deadline:
				t.Fatalf("%s: %+v", what, o)
			}
		}
	}
	proxy(pod{"infra", "edge-1", "edge"}, []xds.Key{cluster, listener}, accepts)
	verdict("acknowledged", func(o Outcome) bool { return o.Programmed && o.Message == "acknowledged by 1 of 1 proxies" })
	proxy(pod{"evil", "x", ""}, []xds.Key{cluster}, func() (*statuspb.Status, bool) {
		return &statuspb.Status{Code: 3, Message: "!! renew your password at evil.example"}, true
	})
	verdict("a stranger rejects it", func(o Outcome) bool {
		return o.Programmed && o.Message == "acknowledged by 1 of 1 proxies; 1 proxy of another namespace rejected a part of it"
	})
	proxy(pod{"evil", "silent", ""}, []xds.Key{cluster}, func() (*statuspb.Status, bool) { return nil, false })
	commit("2")
	verdict("a stranger is silent", func(o Outcome) bool {
		return o.Programmed && strings.HasPrefix(o.Message, "acknowledged by 1 of 1 proxies")
	})
	proxy(pod{"infra", "edge-2", "edge"}, []xds.Key{cluster, listener}, func() (*statuspb.Status, bool) {
		return &statuspb.Status{Code: 3, Message: "no such\nfilter"}, true
	})
	verdict("a proxy of the Gateway rejects it", func(o Outcome) bool {
		return !o.Programmed && o.Message == `proxy infra/edge-2 rejected it and keeps its last good configuration: "no such filter"`
	})
}
