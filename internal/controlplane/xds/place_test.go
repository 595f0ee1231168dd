// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
)

// near is endpoints "a" with variants: pairs of a place and a version.
func near(version string, variants ...string) Change {
	r := Resource{Key: Key{endpoints, "a"}, Version: version, Body: []byte("everywhere " + version)}
	for i := 0; i < len(variants); i += 2 {
		r.Variants = append(r.Variants, Variant{Place: variants[i], Version: variants[i+1], Body: []byte(variants[i] + " " + variants[i+1])})
	}
	return Set(r)
}

// TestPlaces follows one stream through changes of what there is for its places, and of the places.
func TestPlaces(t *testing.T) {
	places := []string{"n1", "z1"}
	b := newBench(t, Options{Places: func(Principal) []string { return places }}, near("1"))
	b.subscribe(endpoints, "a")
	b.ack(b.want("Endpoints a=1")...)
	step := func(why, want string, do func()) {
		t.Helper()
		t.Log(why)
		do()
		var texts []string
		if want != "" {
			texts = []string{want}
		}
		b.ack(b.want(texts...)...)
		if needed, acked, _ := b.srv.Acks(Key{endpoints, "a"}); needed != 1 || acked != 1 {
			t.Fatalf("%s: %d of %d have ACKed", why, acked, needed)
		}
	}
	step("a variant for the zone", "Endpoints a=2", func() { b.commit(near("1", "z1", "2", "z2", "9")) })
	step("the resource itself changes", "", func() { b.commit(near("3", "z1", "2", "z2", "9")) })
	step("another zone's variant changes", "", func() { b.commit(near("3", "z1", "2", "z2", "8")) })
	step("a variant for the node comes before the zone's", "Endpoints a=4", func() { b.commit(near("3", "n1", "4", "z1", "2")) })
	step("the zone's changes, behind the node's", "", func() { b.commit(near("3", "n1", "4", "z1", "5")) })
	step("the node's goes", "Endpoints a=5", func() { b.commit(near("3", "z1", "5")) })
	step("all go, and the rest is what the zone had", "", func() { b.commit(near("5")) })
	step("the client is said to be elsewhere, and that is the same", "", func() { places = []string{"n1", "z2"}; b.srv.Relocate() })
	step("a variant for where it is now", "Endpoints a=6", func() { b.commit(near("5", "z2", "6")) })
	step("elsewhere again", "Endpoints a=5", func() { places = []string{"n1"}; b.srv.Relocate() })
	step("and back", "Endpoints a=6", func() { places = []string{"n1", "z2"}; b.srv.Relocate() })
	b.commit(Remove(Key{endpoints, "a"}))
	b.want("Endpoints -a")
}

// TestAVariantWakesItsOwn: a change for one zone is nothing to the streams of the others.
func TestAVariantWakesItsOwn(t *testing.T) {
	b := newBench(t, Options{Places: func(Principal) []string { return []string{"z1"} }}, near("1", "z1", "2", "z2", "3"))
	b.subscribe(endpoints, "a")
	b.ack(b.want("Endpoints a=2")...)
	<-b.ss.wakeup
	b.ss.awake()
	b.commit(near("4", "z1", "2", "z2", "5"))
	if b.ss.woken.Load() || b.ss.pendingWork() {
		t.Error("a stream was woken by what is not for its place")
	}
	b.commit(near("4", "z1", "6", "z2", "5"))
	if !b.ss.woken.Load() {
		t.Error("a stream was not woken by what is for its place")
	}
	b.want("Endpoints a=6")
}

// TestPlacesResume: a client that comes back with its variant is sent nothing.
func TestPlacesResume(t *testing.T) {
	b := newBench(t, Options{Places: func(Principal) []string { return []string{"z1"} }}, near("1", "z1", "2"))
	resume := func(version string) {
		b.connect()
		b.request(&discoveryv3.DeltaDiscoveryRequest{
			TypeUrl: endpoints, ResourceNamesSubscribe: []string{"a"}, InitialResourceVersions: map[string]string{"a": version},
		})
	}
	resume("2")
	b.want()
	resume("1") // from a control plane that does not support places
	b.want("Endpoints a=2")
}

func TestStoreReturnsVariants(t *testing.T) {
	s := NewStore(testTypes()...)
	c := near("1", "z2", "2", "z1", "3")
	if _, err := s.Commit(near("1", "z1", "0"), c); err != nil {
		t.Fatal(err)
	}
	want := c.Resource
	want.Variants = []Variant{want.Variants[1], want.Variants[0]} // sorted by place
	if got, ok := s.Get(want.Key); !ok || !cmp.Equal(got, want) {
		t.Errorf("Get = %v", cmp.Diff(want, got))
	}
}
