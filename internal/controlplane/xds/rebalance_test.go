// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// TestRebalance: 500 clients are connected to one server when a second one comes. The first one has
// them come back, each once, to whichever they find; afterwards each has about half, and nobody was
// sent anything again.
func TestRebalance(t *testing.T) {
	const clients, within = 500, 2 * time.Second
	var servers [2]*Server
	var addr [2]string
	for i := range servers {
		store := NewStore(testTypes()...)
		mustCommit(t, store, set(clusters, "a", "1"))
		var stop func()
		servers[i], addr[i], stop = serve(t, store, Options{Authenticate: nobody})
		defer stop()
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var there, again, sent atomic.Int64 // servers to choose from, reconnections, resources sent
	there.Store(1)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			held := map[string]string{}
			for ctx.Err() == nil {
				if err := follow(ctx, addr[rng.Int64N(there.Load())], held, &sent); err != nil && ctx.Err() == nil {
					again.Add(1)
				}
			}
		})
	}
	until(t, "all are connected", func() bool { return sent.Load() == clients })
	there.Store(2)
	servers[0].Rebalance(within)
	until(t, "all came back once", func() bool {
		return again.Load() >= clients && len(servers[0].Streams())+len(servers[1].Streams()) == clients
	})
	a, b := len(servers[0].Streams()), len(servers[1].Streams())
	t.Logf("%d and %d of %d, %d reconnections", a, b, clients, again.Load())
	if min(a, b) < clients*2/5 {
		t.Errorf("%d and %d of %d clients", a, b, clients)
	}
	if n := again.Load(); n != clients {
		t.Errorf("%d reconnections of %d clients", n, clients)
	}
	if n := sent.Load(); n != clients {
		t.Errorf("%d resources were sent to %d clients", n, clients)
	}
}

// follow is one stream of a client that holds what it has got, until the stream ends.
func follow(ctx context.Context, addr string, held map[string]string, sent *atomic.Int64) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithReadBufferSize(0))
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResourceNamesSubscribe: []string{"a"}, InitialResourceVersions: held})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, r := range m.GetResources() {
			held[r.GetName()] = r.GetVersion()
			sent.Add(1)
		}
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce()}); err != nil {
			return err
		}
	}
}
