// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// TestNodes: the zone of a node is its label, as it is now; anything else of it is no change.
func TestNodes(t *testing.T) {
	server, _, c := start(t, fill)
	zone := func(want any) func(map[place]any, [][]Event) bool {
		return func(now map[place]any, b [][]Event) bool { return len(b) > 0 && now[at(Node, "", "n1")] == want }
	}
	c.until(t, "the node's zone", zone(model.NodeZone{Name: "n1", Zone: "z1"}))
	n := c.count()
	server.put(nodes, `{metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1, other: "y"}}}`)
	server.put(nodes, `{metadata: {name: n1, labels: {topology.kubernetes.io/zone: z2}}}`)
	c.until(t, "another zone", zone(model.NodeZone{Name: "n1", Zone: "z2"}))
	if got := c.count() - n; got != 1 {
		t.Errorf("%d batches for one change of a zone", got)
	}
	server.put(nodes, `{metadata: {name: n1}}`)
	c.until(t, "no zone", zone(model.NodeZone{Name: "n1"}))
	server.remove(nodes, "n1")
	c.until(t, "no node", zone(nil))
}

// TestForbiddenNodes: without the right to read nodes all else is delivered.
func TestForbiddenNodes(t *testing.T) {
	_, s, c := start(t, func(s *apiServer) {
		fill(s)
		s.refuse(nodes)
	}, func(s *Source) { s.patience = 10 * time.Millisecond })
	c.until(t, "all but the node", func(now map[place]any, _ [][]Event) bool { return len(now) == len(Kinds())-1 && len(s.Waiting()) == 0 })
}

// TestHints: the hints of an endpoint come sorted, each once; without any there are none.
func TestHints(t *testing.T) {
	zone := func(n string) discoveryv1.ForZone { return discoveryv1.ForZone{Name: n} }
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.0.0.1"}, Hints: &discoveryv1.EndpointHints{
				ForZones: []discoveryv1.ForZone{zone("z2"), zone("z1"), zone("z2"), zone("")}, ForNodes: []discoveryv1.ForNode{{Name: "n1"}},
			}},
			{Addresses: []string{"10.0.0.2"}, Hints: &discoveryv1.EndpointHints{}},
			{Addresses: []string{"10.0.0.3"}},
		},
	}
	out, ok := SliceFrom(s)
	if !ok {
		t.Fatal("the slice is none")
	}
	var got []*model.Hints
	for _, e := range out.Endpoints {
		got = append(got, e.Hints)
	}
	if d := cmp.Diff([]*model.Hints{{Zones: []string{"z1", "z2"}, Nodes: []string{"n1"}}, nil, nil}, got); d != "" {
		t.Error(d)
	}
}
