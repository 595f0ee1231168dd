// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// arrived is what all clients together have got since the measuring began.
type arrived struct {
	Pushes, Resources int
	Bytes             int64
	P50, P99          time.Duration
}

// fleet is all clients.
type fleet struct {
	settings
	mu        sync.Mutex
	cond      *sync.Cond
	got       map[int64]int // clients that have a change, by its stamp
	latencies map[int64][]time.Duration
	pushes    map[int64]arrived
	loaded    int // clients that have all their names
	failed    error
}

func load(s settings, answer *json.Encoder) (func([]string) (any, error), error) {
	f := &fleet{settings: s, got: map[int64]int{}, latencies: map[int64][]time.Duration{}, pushes: map[int64]arrived{}}
	f.cond = sync.NewCond(&f.mu)
	for i := range s.Clients {
		go func() {
			err := f.client(i)
			f.mu.Lock()
			f.failed = err
			f.mu.Unlock()
			f.cond.Broadcast()
		}()
	}
	if err := f.until(func() bool { return f.loaded == s.Clients }); err != nil {
		return nil, err
	}
	if err := answer.Encode(arrived{}); err != nil {
		return nil, err
	}
	var total arrived
	var all []time.Duration
	return func(fields []string) (any, error) {
		if len(fields) != 3 || fields[0] != "await" {
			return nil, fmt.Errorf("unknown command %v", fields)
		}
		stamp, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return nil, err
		}
		if err := f.until(func() bool { return f.got[stamp] == s.Clients }); err != nil {
			return nil, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if fields[2] == "true" {
			p := f.pushes[stamp]
			total.Pushes += p.Pushes
			total.Resources += p.Resources
			total.Bytes += p.Bytes
			all = append(all, f.latencies[stamp]...)
			slices.Sort(all)
			total.P50, total.P99 = all[len(all)/2], all[len(all)*99/100]
		}
		return total, nil
	}, nil
}

func (f *fleet) until(done func() bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !done() && f.failed == nil {
		f.cond.Wait()
	}
	return f.failed
}

// names that a client subscribes to: those that change, and others at random.
func (f *fleet) names(i int) []string {
	rng := rand.New(rand.NewSource(int64(i))) //nolint:gosec // the same in every run
	l := make([]string, 0, f.Each)
	for n := range f.Hot {
		l = append(l, name(n))
	}
	for _, n := range rng.Perm(f.Names - f.Hot)[:f.Each-f.Hot] {
		l = append(l, name(n+f.Hot))
	}
	return l
}

// client is one proxy with a connection of its own. It ACKs what it gets, until something fails.
func (f *fleet) client(i int) error {
	conn, err := grpc.NewClient(f.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithReadBufferSize(0), grpc.WithWriteBufferSize(4<<10), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		return err
	}
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(context.Background())
	if err != nil {
		return err
	}
	if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{
		Node: &corev3.Node{Id: fmt.Sprint("client-", i)}, TypeUrl: resourcev3.EndpointType, ResourceNamesSubscribe: f.names(i),
	}); err != nil {
		return err
	}
	have := 0
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		now := time.Now().UnixNano()
		if len(m.GetRemovedResources()) > 0 {
			return errors.New("names are answered as removed")
		}
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resourcev3.EndpointType, ResponseNonce: m.GetNonce()}); err != nil {
			return err
		}
		if have < f.Each {
			if have += len(m.GetResources()); have >= f.Each {
				f.mu.Lock()
				f.loaded++
				f.mu.Unlock()
				f.cond.Broadcast()
			}
			continue
		}
		f.count(m, now)
	}
}

func (f *fleet) count(m *discoveryv3.DeltaDiscoveryResponse, now int64) {
	r := m.GetResources()[0]
	stamp := stampOf(r.GetResource().GetValue())
	size := 0
	for _, r := range m.GetResources() {
		size += len(r.GetResource().GetValue())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pushes[stamp]
	p.Pushes++
	p.Resources += len(m.GetResources())
	p.Bytes += int64(size)
	f.pushes[stamp] = p
	f.latencies[stamp] = append(f.latencies[stamp], time.Duration(now-stamp))
	if f.got[stamp]++; f.got[stamp] == f.Clients {
		f.cond.Broadcast()
	}
}

// stampOf finds the host name of the first endpoint: nineteen digits, which is
// cheaper than to decode the message and enough here.
func stampOf(b []byte) int64 {
	for i := 0; i+19 <= len(b); i++ {
		j := bytes.IndexFunc(b[i:], func(r rune) bool { return r >= '0' && r <= '9' })
		if j < 0 {
			break
		}
		i += j
		if i+19 <= len(b) {
			if v, err := strconv.ParseInt(string(b[i:i+19]), 10, 64); err == nil {
				return v
			}
		}
	}
	return 0
}
