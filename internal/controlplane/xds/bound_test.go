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
		OnInterest: func(_ string, names []string) { heard = append(heard, names...) },
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
