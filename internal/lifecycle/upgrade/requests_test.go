// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// TestRequestsFollow: with the label that says which release serves, the serving slot gets the larger
// requests, once, and back again; slots that ask for the same, or for nothing, are left alone.
func TestRequestsFollow(t *testing.T) {
	asks := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	large, small := asks("45m", "80Mi"), asks("5m", "16Mi")
	for name, c := range map[string]struct {
		a, b corev1.ResourceList
		slot string // that serves what is wanted
		want map[string]corev1.ResourceList
	}{
		"to the other slot":   {large, small, "b", map[string]corev1.ResourceList{"a": small, "b": large}},
		"and back":            {small, large, "a", map[string]corev1.ResourceList{"a": large, "b": small}},
		"so already":          {small, large, "b", nil},
		"halves":              {asks("25m", "48Mi"), asks("25m", "48Mi"), "b", nil},
		"only memory differs": {asks("1", "80Mi"), asks("1", "16Mi"), "b", map[string]corev1.ResourceList{"a": asks("1", "16Mi"), "b": asks("1", "80Mi")}},
		"nothing is asked":    {nil, nil, "b", nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := Pod{
				Namespace: "shop", Name: "web-1", Kind: names.KindSidecar, Ready: true,
				Labels: map[string]string{names.LabelVersion: "0.2.0"},
				Target: protocol.Target{Slot: c.slot, Generation: 1, Version: "0.3.0"},
				A:      Slot{Requests: c.a}, B: Slot{Requests: c.b},
			}
			r := reports{c.slot: {Version: "0.3.0", Phase: protocol.PhaseReady}}
			move := labelled(p, r)
			if move == nil || move.Version != "0.3.0" || move.Target != nil {
				t.Fatalf("%+v, want the label", move)
			}
			if d := cmp.Diff(c.want, move.Requests); d != "" {
				t.Error(d)
			}
		})
	}
}
