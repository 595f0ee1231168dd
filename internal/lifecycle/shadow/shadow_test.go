// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package shadow

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/protocol"
)

const (
	clusters  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	listeners = "type.googleapis.com/envoy.config.listener.v3.Listener"
	endpoints = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
)

type resources = map[string]map[string]string

func route(name, condition string) Object {
	return Object{Kind: "HTTPRoute", Namespace: "shop", Name: name, Where: "Service web", Condition: condition, Reason: "R", Message: "because"}
}

// TestDiff: each row is what one release makes and the other; the summary says it.
func TestDiff(t *testing.T) {
	base := Translation{
		Version: "0.2.0", Synced: true,
		Resources: resources{clusters: {"a": "1", "b": "1", "c": "1"}, listeners: {"l": "1"}},
		Rejected:  []Object{route("bad", "ResolvedRefs")},
	}
	for name, c := range map[string]struct {
		after   Translation
		summary string
		rejects int
	}{
		"the same": {
			Translation{Version: "0.3.0", Resources: base.Resources, Rejected: base.Rejected},
			"nothing changes; nothing new is rejected", 0,
		},
		"one changes": {
			Translation{Resources: resources{clusters: {"a": "2", "b": "1", "c": "1"}, listeners: {"l": "1"}}},
			"1 of 3 clusters changes; nothing new is rejected", 0,
		},
		"all kinds of change": {
			Translation{Resources: resources{clusters: {"a": "2", "b": "2", "d": "1"}, listeners: {"l": "2"}, "type.googleapis.com/x.Y": {"y": "1"}}},
			"1 of 1 listener changes, 2 of 3 clusters change, 1 cluster comes, 1 cluster goes, 1 Y comes; nothing new is rejected", 0,
		},
		"a kind goes": {
			Translation{Resources: resources{clusters: {"a": "1", "b": "1", "c": "1"}}},
			"1 listener goes; nothing new is rejected", 0,
		},
		"what was rejected before, in other words": {
			Translation{Resources: base.Resources, Rejected: []Object{{Kind: "HTTPRoute", Namespace: "shop", Name: "bad", Where: "Service web", Condition: "ResolvedRefs", Reason: "Other", Message: "other words"}}},
			"nothing changes; nothing new is rejected", 0,
		},
		"what was rejected, in a new way": {
			Translation{Resources: base.Resources, Rejected: []Object{route("bad", "Accepted"), route("bad", "ResolvedRefs")}},
			"nothing changes; 1 object is newly rejected: HTTPRoute shop/bad", 1,
		},
		"many are newly rejected": {
			Translation{Resources: base.Resources, Rejected: []Object{route("a", "Accepted"), route("a", "ResolvedRefs"), route("b", "Accepted"), route("c", "Accepted"), route("d", "Accepted"), route("e", "Accepted")}},
			"nothing changes; 5 objects are newly rejected: HTTPRoute shop/a, HTTPRoute shop/b, HTTPRoute shop/c and 2 more", 6,
		},
		"a translation fails": {
			Translation{Resources: base.Resources, Failed: []protocol.FailedTranslation{{Step: "cluster resources", Key: "shop/web", Problem: "index out of range"}}},
			"nothing changes; 1 object is newly rejected: cluster resources shop/web", 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := Diff(base, c.after)
			if d.Summary() != c.summary {
				t.Errorf("%q, want %q", d.Summary(), c.summary)
			}
			if got := len(d.NewlyRejected()); got != c.rejects {
				t.Errorf("%d newly rejected: %+v", got, d.NewlyRejected())
			}
			if none := c.summary == "nothing changes; nothing new is rejected"; d.None() != none {
				t.Errorf("None: %v", d.None())
			}
			back := Diff(c.after, base)
			for _, k := range d.Kinds {
				for _, b := range back.Kinds {
					if b.Type == k.Type && (!cmp.Equal(b.Added, k.Removed) || !cmp.Equal(b.Removed, k.Added) || !cmp.Equal(b.Changed, k.Changed)) {
						t.Errorf("the way back: %+v, %+v", k, b)
					}
				}
			}
		})
	}
}

// TestNothing: of a control plane that tells nothing, or an older one that doesn't tell all.
func TestNothing(t *testing.T) {
	if d := Diff(Translation{}, Translation{}); !d.None() || d.Summary() != "nothing changes; nothing new is rejected" {
		t.Error(d.Summary())
	}
	var zero Difference
	if !zero.None() {
		t.Error("the zero value is a difference")
	}
}

// TestDiffAsJSON: what the command line prints has lists where there is nothing.
func TestDiffAsJSON(t *testing.T) {
	b, err := json.Marshal(Diff(Translation{Version: "0.2.0"}, Translation{Version: "0.3.0", Resources: resources{clusters: {"a": "1"}}}))
	want := `{"old":"0.2.0","new":"0.3.0","kinds":[{"type":"` + clusters + `","old":0,"new":1,"added":["a"]}],"newlyRejected":[]}`
	if err != nil || string(b) != want {
		t.Errorf("%s %v", b, err)
	}
}

// TestConfirmed: what only one of two looks shows is not the releases' difference.
func TestConfirmed(t *testing.T) {
	before := Translation{Resources: resources{clusters: {"a": "1"}, endpoints: {"a": "1", "b": "1", "gone": "1"}}}
	first := Diff(before, Translation{
		Resources: resources{clusters: {"a": "2"}, endpoints: {"a": "2", "b": "2", "new": "1"}},
		Rejected:  []Object{route("late", "ResolvedRefs"), route("real", "Accepted")},
	})
	later := Diff(
		Translation{Resources: resources{clusters: {"a": "1"}, endpoints: {"a": "2", "b": "1", "new": "1"}}},
		Translation{
			Resources: resources{clusters: {"a": "2"}, endpoints: {"a": "2", "b": "2", "new": "1"}, listeners: {"l": "1"}},
			Rejected:  []Object{route("other", "ResolvedRefs"), route("real", "Accepted")},
		})
	got := first.Confirmed(later)
	if want := "1 of 1 cluster changes, 1 of 3 lists of endpoints changes; 1 object is newly rejected: HTTPRoute shop/real"; got.Summary() != want {
		t.Errorf("%q, want %q", got.Summary(), want)
	}
	if again := got.Confirmed(got); !cmp.Equal(got, again) {
		t.Error(cmp.Diff(got, again))
	}
}

// TestDiffIsComplete: on random worlds, applying the difference to the old one gives the names of the
// new one, and nothing that is the same is told.
func TestDiffIsComplete(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	world := func() Translation {
		out := Translation{Resources: resources{}}
		for _, t := range []string{clusters, listeners, endpoints} {
			if rnd.IntN(4) == 0 {
				continue
			}
			out.Resources[t] = map[string]string{}
			for n := range 8 {
				if rnd.IntN(3) > 0 {
					out.Resources[t][fmt.Sprint("r", n)] = fmt.Sprint(rnd.IntN(2))
				}
			}
		}
		return out
	}
	for range 500 {
		a, b := world(), world()
		for _, k := range Diff(a, b).Kinds {
			names := map[string]bool{}
			for n := range a.Resources[k.Type] {
				names[n] = true
			}
			for _, n := range k.Removed {
				delete(names, n)
			}
			for _, n := range k.Added {
				if names[n] {
					t.Fatalf("%s is added and was there", n)
				}
				names[n] = true
			}
			if len(names) != len(b.Resources[k.Type]) || len(names) != k.New {
				t.Fatalf("%v, want %v", names, b.Resources[k.Type])
			}
			differ := 0
			for n, h := range b.Resources[k.Type] {
				if old, was := a.Resources[k.Type][n]; was && old != h {
					differ++
				}
			}
			if differ != len(k.Changed) {
				t.Fatalf("%d differ, told %v", differ, k.Changed)
			}
		}
	}
}
