// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/controlplane/rights"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/names"
)

// TestPlaces: clients of every kind are on their node first and in its zone second, as its label is now.
func TestPlaces(t *testing.T) {
	var z zones
	for _, step := range []struct {
		name    string
		events  []source.Event
		changed bool
		want    []string
	}{
		{"nothing is known", nil, false, []string{"node/n1"}},
		{"another node", []source.Event{node("n2", "z2")}, true, []string{"node/n1"}},
		{"its zone", []source.Event{node("n1", "z1")}, true, []string{"node/n1", "zone/z1"}},
		{"the same again", []source.Event{node("n1", "z1"), event(source.Namespace, "", "n1", nil)}, false, []string{"node/n1", "zone/z1"}},
		{"another zone", []source.Event{node("n1", "z2")}, true, []string{"node/n1", "zone/z2"}},
		{"no label", []source.Event{node("n1", "")}, true, []string{"node/n1"}},
		{"no node", []source.Event{node("n1", "z1"), event(source.Node, "", "n1", nil)}, true, []string{"node/n1"}},
	} {
		if got := z.take(step.events); got != step.changed {
			t.Errorf("%s: changed %t", step.name, got)
		}
		for _, kind := range []string{names.KindSidecar, names.KindGateway, names.KindClient} {
			want := step.want
			if kind == names.KindGateway { // what is made for Gateways comes before
				want = append([]string{"gateway"}, want...)
			}
			if d := cmp.Diff(want, z.places(connected{Proxy: rights.Proxy{Kind: kind, Node: "n1"}})); d != "" {
				t.Errorf("%s, %s: %s", step.name, kind, d)
			}
		}
	}
	if got := z.places(connected{}); got != nil {
		t.Errorf("a pod without a node is at %v", got)
	}
}
