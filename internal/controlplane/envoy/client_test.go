// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	grpcxds "google.golang.org/grpc/xds"
	"google.golang.org/protobuf/types/known/emptypb"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/testing/models"
)

// TestLibraryTakesClients has gRPC's own client read the golden cases and random models: it may reject
// nothing, and asks for all of it.
func TestLibraryTakesClients(t *testing.T) {
	files, err := filepath.Glob("clientdata/*/in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in := models.Decode(t, b)
			if len(in.ClientTables) == 0 { // one that leads to all backends
				in.ClientTables = []model.RouteTable{everything(in.ClientBackends)}
			}
			library(t, in)
		})
	}
	seed := uint64(time.Now().UnixNano())
	for i := range uint64(30) {
		t.Run(fmt.Sprintf("seed %d", seed+i), func(t *testing.T) {
			all := models.Random(seed + i)
			in := models.Input{ClientTables: all.Tables[:min(1, len(all.Tables))], NoBackend: true}
			for _, b := range all.Backends {
				in.ClientBackends = append(in.ClientBackends, model.ClientBackend{Backend: b, Identities: []string{"spiffe://a/ns/b/sa/c"}[:i%2]})
			}
			for _, e := range all.Endpoints {
				in.ClientEndpoints = append(in.ClientEndpoints, model.ClientEndpoints{Endpoints: e, Transport: all.Backends[0].Transport})
			}
			if len(in.ClientTables) == 0 {
				in.ClientTables = []model.RouteTable{everything(in.ClientBackends)}
			}
			host := in.ClientTables[0].Hosts[:1] // it looks no further than the host it calls
			host[0].Domains = []string{"*"}
			in.ClientTables[0].Hosts = host
			library(t, in)
		})
	}
}

func everything(backends []model.ClientBackend) model.RouteTable {
	var r model.Rule
	for _, b := range backends {
		r.Backends = append(r.Backends, model.WeightedBackend{Backend: b.Key, Node: b.Node, Weight: 1})
	}
	return model.RouteTable{Name: "out/shop/all/80", Hosts: []model.VirtualHost{{Domains: []string{"*"}, Rules: []model.Rule{r}}}}
}

// library serves what there is to a client that dials "web.shop:80".
func library(t *testing.T, in models.Input) {
	t.Helper()
	const host = "web.shop:80"
	in.ClientTargets = []model.ClientTarget{{Name: host, Host: host, Table: in.ClientTables[0].Name}}
	store := xds.NewStore(
		xds.Type{URL: envoy.ClusterType, Whole: true}, xds.Type{URL: envoy.EndpointsType},
		xds.Type{URL: envoy.RoutesType}, xds.Type{URL: envoy.ListenerType, Whole: true},
	)
	var changes []xds.Change
	var want []envoy.Ref // what it must ask for: all that the table names
	for _, r := range in.Resources() {
		b, err := r.Body()
		if err != nil {
			t.Fatal(err)
		}
		changes = append(changes, xds.Set(xds.Resource{Key: xds.Key{TypeURL: r.TypeURL, Name: r.Name}, Body: b}))
		want = append(want, r.Refs...)
	}
	if _, err := store.Commit(changes...); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	taken := map[envoy.Ref]bool{}
	server, err := xds.NewServer(store, xds.Options{
		Authenticate: func(context.Context) (xds.Principal, error) { return "client", nil },
		Authorize:    func(xds.Principal, xds.Key) bool { return true },
		ResumeGrace:  10 * time.Millisecond,
		OnAck: func(a xds.Ack) {
			mu.Lock()
			defer mu.Unlock()
			if a.Err != "" {
				t.Errorf("%s is rejected: %s", a.Key, a.Err)
			}
			taken[envoy.Ref{TypeURL: a.Key.TypeURL, Name: a.Key.Name}] = true
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := server.NewGRPC()
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Serve(l) }() // it is stopped, which is no error
	defer func() { g.Stop(); <-done }()
	builder, err := grpcxds.NewXDSResolverWithConfigForTesting(fmt.Appendf(nil, `{
		"xds_servers": [{"server_uri": %q, "channel_creds": [{"type": "insecure"}]}], "node": {"id": "test"},
		"certificate_providers": {"default": {"plugin_name": "file_watcher", "config": {"ca_certificate_file": "/none"}}}
	}`, l.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	// Whatever is at the endpoints' addresses is none of the test's business: no packet leaves for them.
	nobody := func(_ context.Context, addr string) (net.Conn, error) {
		return nil, fmt.Errorf("nobody is at %s", addr)
	}
	conn, err := grpc.NewClient("xds:///"+host, grpc.WithResolvers(builder), grpc.WithContextDialer(nobody),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	conn.Connect()
	missing := func() (list []string) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range want {
			if !taken[r] {
				list = append(list, r.TypeURL[strings.LastIndexByte(r.TypeURL, '.')+1:]+" "+r.Name)
			}
		}
		return list
	}
	for end := time.Now().Add(10 * time.Second); len(missing()) > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if m := missing(); len(m) > 0 {
		t.Errorf("after 10 s the client has not taken %v", m)
	}
	// A call may only fail as calls do.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := conn.Invoke(ctx, "/a/b", new(emptypb.Empty), new(emptypb.Empty)); status.Code(err) != codes.Unavailable && status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a call: %v", err)
	}
}
