// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestJudge: each row is one step; the outcome of one is the last of the next.
func TestJudge(t *testing.T) {
	type step struct {
		p          Progress
		programmed bool
		reason     string
	}
	nack := []Rejection{{"shop/web", "no such filter"}}
	for name, steps := range map[string][]step{
		"acknowledged one after the other": {
			{Progress{Config: "1", Needed: 2}, false, ReasonPending},
			{Progress{Config: "1", Needed: 2, Acked: 1}, false, ReasonPending},
			{Progress{Config: "1", Needed: 2, Acked: 2}, true, ReasonAcknowledged},
		},
		"a pod that comes takes nothing back": {
			{Progress{Config: "1", Needed: 2, Acked: 2}, true, ReasonAcknowledged},
			{Progress{Config: "1", Needed: 3, Acked: 2}, true, ReasonAcknowledged},
			{Progress{Config: "1", Needed: 0, Acked: 0}, true, ReasonAcknowledged},
		},
		"no proxy until one has acknowledged": {
			{Progress{Config: "1"}, true, ReasonNoProxies},
			{Progress{Config: "1", Needed: 1}, true, ReasonNoProxies},
			{Progress{Config: "1", Needed: 1, Acked: 1}, true, ReasonAcknowledged},
		},
		"a new configuration has to be acknowledged anew": {
			{Progress{Config: "1", Needed: 1, Acked: 1}, true, ReasonAcknowledged},
			{Progress{Config: "2", Needed: 1}, false, ReasonPending},
		},
		"a rejection shows at once and heals": {
			{Progress{Config: "1", Needed: 2, Acked: 1}, false, ReasonPending},
			{Progress{Config: "1", Needed: 2, Acked: 1, Rejections: nack}, false, ReasonRejected},
			{Progress{Config: "2", Needed: 2, Acked: 2}, true, ReasonAcknowledged},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var last Outcome
			for i, s := range steps {
				last, _ = Judge(last, s.p.split(Near{Namespaces: []string{"shop"}}), 0)
				if last.Programmed != s.programmed || last.Reason != s.reason {
					t.Fatalf("step %d: %+v, want %v %s", i, last, s.programmed, s.reason)
				}
			}
		})
	}
}

// TestMerge: replicas add up, and only when they speak of the same configuration.
func TestMerge(t *testing.T) {
	got, ok := Merge([]Progress{{Config: "1", Needed: 2, Acked: 1}, {Config: "1", Needed: 3, Acked: 3}})
	if d := cmp.Diff(Progress{Config: "1", Needed: 5, Acked: 4}, got); d != "" || !ok {
		t.Error(d, ok)
	}
	if _, ok := Merge([]Progress{{Config: "1"}, {Config: "2"}}); ok {
		t.Error("different configurations were merged")
	}
	if _, ok := Merge(nil); ok {
		t.Error("nothing was merged")
	}
}
