// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"slices"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// TestBounded: a stream has no more names of a bounded kind than that. More are answered as removed, and
// others and those that it has already are not concerned.
func TestBounded(t *testing.T) {
	var heard []string
	b := newBench(t, Options{
		MaxBounded: 2, Bounded: func(k Key) bool { return k.TypeURL == clusters && strings.HasPrefix(k.Name, "to/") },
		OnInterest: func(_ Principal, _ string, names []string) { heard = append(heard, names...) },
	}, set(clusters, "a", "1"), set(clusters, "to/1", "1"), set(clusters, "to/2", "1"), set(clusters, "to/3", "1"), set(endpoints, "to/4", "1"))
	b.subscribe(clusters, "to/1", "a", "to/2", "to/3")
	b.subscribe(endpoints, "to/4")
	l := b.want("Cluster -to/3 a=1 to/1=1 to/2=1", "Endpoints to/4=1")
	b.ack(l...)
	if slices.Contains(heard, "to/3") {
		t.Errorf("asked for: %v", heard)
	}
	b.subscribe(clusters, "to/2")
	l = b.want("Cluster to/2=1")
	b.ack(l...)
	b.request(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResourceNamesSubscribe: []string{"to/3"}, ResourceNamesUnsubscribe: []string{"to/1"}})
	b.want("Cluster to/3=1")
}

// TestBoundedByOwner: all streams of an owner have no more different names of a bounded kind than twice the bound of
// a stream, however many streams there are. What one stream has another one may have too, as after a reconnection.
func TestBoundedByOwner(t *testing.T) {
	b := newBench(t, Options{
		Owner: perPod(0), MaxBounded: 2, Bounded: func(k Key) bool { return strings.HasPrefix(k.Name, "to/") },
	})
	var others []*session
	ask := func(names ...string) []string {
		t.Helper()
		ss := b.srv.enter(b.ss.principal, func() {})
		others = append(others, ss)
		if err := ss.handle(&request{url: clusters, subscribe: names}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range ss.existing(clusters).subs {
			got = append(got, s.entry.key.Name)
		}
		slices.Sort(got)
		return got
	}
	want := func(got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("subscribed to %v, want %v", got, want)
		}
	}
	want(ask("to/1", "to/2", "to/3"), "to/1", "to/2")
	want(ask("to/3", "to/1"), "to/1", "to/3")
	want(ask("to/4", "to/4", "to/5"), "to/4")
	want(ask("to/5", "a", "to/2", "to/6"), "a", "to/2")
	b.srv.end(others[1]) // to/1 stays, of another stream
	want(ask("to/1", "to/5"), "to/1", "to/5")
	for _, ss := range slices.Delete(others, 1, 2) {
		b.srv.end(ss)
	}
	if n := len(b.ss.owner.bound); n != 0 {
		t.Errorf("%d names are left", n)
	}
}
