// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMakeBeforeBreak(t *testing.T) {
	a, z := Key{clusters, "a"}, Key{clusters, "z"}
	b := newBench(t, Options{}, set(clusters, "a", "1"), set(routes, "r", "1", a))
	b.subscribe(routes, "r")
	b.subscribe(clusters, "a", "z")
	c := b.want("Cluster -z a=1") // the route waits
	b.ack(c...)
	b.ack(b.want("Route r=1")...)

	b.commit(set(clusters, "z", "1"), set(routes, "r", "2", z), Remove(a))
	c = b.want("Cluster z=1") // the route waits, and the removal for the route
	b.ack(c...)
	r := b.want("Route r=2")
	b.want()
	b.ack(r...)
	b.ack(b.want("Cluster -a")...)

	b.commit(Remove(z), Remove(Key{routes, "r"}))
	r = b.want("Route -r")
	b.ack(r...)
	b.ack(b.want("Cluster -z")...)
	b.want()
}

func TestAPureEndpointChangeWaitsForNothing(t *testing.T) {
	b := newBench(t, Options{}, set(clusters, "a", "1"), set(endpoints, "a", "1"))
	b.subscribe(clusters, "a")
	b.subscribe(endpoints, "a")
	b.want("Cluster a=1", "Endpoints a=1") // the cluster is not ACKed
}

func TestACompanionFollows(t *testing.T) {
	with := func(version string) Change {
		return Set(Resource{Key: Key{clusters, "a"}, Version: version, Companion: Key{endpoints, "a"}})
	}
	a := Key{clusters, "a"}
	b := newBench(t, Options{}, with("1"), set(endpoints, "a", "1"), set(routes, "r", "1", a))
	b.subscribe(clusters, "a")
	b.subscribe(endpoints, "a")
	b.ack(b.want("Cluster a=1", "Endpoints a=1")...)
	b.subscribe(routes, "r")
	b.ack(b.want("Route r=1")...)
	b.commit(with("2"), set(routes, "r", "2", a))
	l := b.want("Cluster a=2", "Endpoints a=1")
	b.ack(l[0])
	if _, acked, _ := b.srv.Acks(Key{endpoints, "a"}); acked != 0 {
		t.Error("endpoints that are owed count as acknowledged")
	}
	b.want() // the route waits for the endpoints, without which the cluster does not work
	b.commit(set(endpoints, "a", "2"))
	b.ack(l[1])
	b.ack(b.want("Endpoints a=2", "Route r=2")...) // but not for further changes of them
	b.commit(Remove(a), Remove(Key{endpoints, "a"}), set(routes, "r", "3"))
	b.ack(b.want("Route r=3")...)
	b.ack(b.want("Cluster -a")...)
	b.ack(b.want("Endpoints -a")...)
}

func TestWhatIsNotSubscribedIsNotWaitedFor(t *testing.T) {
	a := Key{clusters, "a"}
	b := newBench(t, Options{}, set(clusters, "a", "1"), set(routes, "r", "1", a, Key{clusters, "absent"}))
	b.subscribe(routes, "r")
	b.ack(b.want("Route r=1")...)
	b.commit(Remove(a))
	b.want()
}

// While a scope is on its way the client is about to subscribe to what it lists.
func TestALeadingResourceGoesFirst(t *testing.T) {
	a := Key{clusters, "a"}
	b := newBench(t, Options{}, set(scopes, "s", "1"), set(routes, "r", "1"))
	b.subscribe(scopes, "s")
	b.subscribe(routes, "r")
	b.ack(b.want("Scope s=1", "Route r=1")...)
	b.commit(set(scopes, "s", "2"), set(clusters, "a", "1"), set(routes, "r", "2", a))
	s := b.want("Scope s=2")
	b.subscribe(clusters, "a")
	b.ack(s...)
	b.ack(b.want("Cluster a=1")...)
	b.ack(b.want("Route r=2")...)
	b.commit(set(scopes, "s", "3"), set(routes, "r", "3", a))
	b.nack(b.want("Scope s=3")[0], "not this one")
	b.ack(b.want("Route r=3")...) // a rejected one is not waited for
}

func TestARejectedNeedHoldsNothingUp(t *testing.T) {
	a, c := Key{clusters, "a"}, Key{clusters, "c"}
	b := newBench(t, Options{}, set(clusters, "a", "1"), set(clusters, "c", "1"), set(routes, "r", "1", a, c))
	b.subscribe(clusters, "a", "c")
	b.subscribe(routes, "r")
	b.nack(b.want("Cluster a=1 c=1")[0], "one of them")
	one := b.want("Cluster a=1")
	b.nack(one[0], "this one")
	b.ack(b.want("Cluster c=1")...)
	b.ack(b.want("Route r=1")...)
}

// What the client goes on using, because it rejected what was to replace it, stays.
func TestARejectedReplacementKeepsWhatTheOldOneNeeds(t *testing.T) {
	a := Key{clusters, "a"}
	b := newBench(t, Options{}, set(clusters, "a", "1"), set(routes, "r", "1", a))
	b.subscribe(clusters, "a")
	b.subscribe(routes, "r")
	b.ack(b.want("Cluster a=1")...)
	b.ack(b.want("Route r=1")...)
	b.commit(Remove(a), set(routes, "r", "2"))
	b.nack(b.want("Route r=2")[0], "no")
	b.want()
	b.commit(set(routes, "r", "3"))
	b.ack(b.want("Route r=3")...)
	b.ack(b.want("Cluster -a")...)
}

func TestCyclesAreBroken(t *testing.T) {
	a, c := Key{clusters, "a"}, Key{clusters, "c"}
	b := newBench(t, Options{}, set(clusters, "a", "1", c, a), set(clusters, "c", "1", a), set(routes, "r", "1", a))
	b.subscribe(routes, "r")
	b.subscribe(clusters, "a", "c")
	b.ack(b.want("Cluster a=1 c=1")...)
	b.ack(b.want("Route r=1")...)
	if n := testutil.ToFloat64(b.srv.metrics.cycles); n != 1 {
		t.Errorf("cycles = %v, want 1", n)
	}
	b.commit(Remove(a), Remove(c))
	b.want() // the route still names them
	b.commit(Remove(Key{routes, "r"}))
	b.ack(b.want("Route -r")...)
	b.ack(b.want("Cluster -a -c")...)
	b.want()
}

// A need that changes all the time must not hold up others for ever.
func TestANeedThatNeverRestsIsWaitedForOnce(t *testing.T) {
	a := Key{clusters, "a"}
	b := newBench(t, Options{}, set(clusters, "a", "1"), set(routes, "r", "1", a))
	b.subscribe(clusters, "a")
	b.subscribe(routes, "r")
	b.ack(b.want("Cluster a=1")...)
	b.ack(b.want("Route r=1")...)
	b.commit(set(clusters, "a", "2"))
	two := b.want("Cluster a=2")
	b.commit(set(clusters, "a", "3"), set(routes, "r", "2", a))
	b.want()
	b.ack(two...)
	three := b.want("Cluster a=3")
	b.commit(set(clusters, "a", "4"))
	b.ack(three...)
	b.want("Cluster a=4", "Route r=2")
}

// A client may have taken what it rejected together with something bad, and
// goes on using it.
func TestWhatWasOfferedIsRemovedInOrder(t *testing.T) {
	a, c := Key{clusters, "a"}, Key{clusters, "c"}
	b := newBench(t, Options{}, set(clusters, "a", "1"), set(clusters, "c", "1"), set(routes, "r", "1", a, c))
	b.subscribe(clusters, "a", "c")
	b.subscribe(routes, "r")
	b.nack(b.want("Cluster a=1 c=1")[0], "c is bad") // and a was taken
	b.commit(set(clusters, "a", "2"))
	b.nack(b.want("Cluster a=2")[0], "now a is bad, too")
	b.nack(b.want("Cluster c=1")[0], "still bad")
	b.ack(b.want("Route r=1")...)
	b.commit(Remove(a), set(routes, "r", "2"))
	r := b.want("Route r=2")
	b.ack(r...)
	b.ack(b.want("Cluster -a")...)
}

// The same for what it may refer to.
func TestWhatMayHaveBeenTakenKeepsWhatItNeeds(t *testing.T) {
	a := Key{clusters, "a"}
	b := newBench(t, Options{}, set(clusters, "a", "1"), set(routes, "r", "1", a), set(routes, "s", "1"))
	b.subscribe(clusters, "a")
	b.ack(b.want("Cluster a=1")...)
	b.subscribe(routes, "r", "s")
	both := b.want("Route r=1 s=1")
	b.commit(Remove(a), set(routes, "r", "2"))
	b.nack(both[0], "s is bad") // and r, which names a, was taken
	b.nack(b.want("Route r=2")[0], "now r is bad, too")
	b.nack(b.want("Route s=1")[0], "still bad")
	b.want()
	b.commit(set(routes, "r", "3"))
	b.ack(b.want("Route r=3")...)
	b.ack(b.want("Cluster -a")...)

	b.commit(set(routes, "r", "4"), set(routes, "s", "4"))
	both = b.want("Route r=4 s=4")
	b.commit(set(routes, "r", "3"))
	b.nack(both[0], "r or s")
	if _, acked, _ := b.srv.Acks(Key{routes, "r"}); acked != 0 {
		t.Error("the old version counts as acknowledged while the client may have taken the new one")
	}
	b.ack(b.want("Route r=3")...)
	b.nack(b.want("Route s=4")[0], "s")
	b.unsubscribe(routes, "s", "r")
	if len(b.ss.maybe)+len(b.ss.rejected) != 0 {
		t.Error("a stream remembers what it does not subscribe to")
	}
}

// A removal on its way is not what the client will have.
func TestANeedThatIsBeingRemovedIsNotThere(t *testing.T) {
	a := Key{clusters, "a"}
	b := newBench(t, Options{}, set(clusters, "a", "1"), set(routes, "r", "1", a))
	b.subscribe(clusters, "a")
	b.ack(b.want("Cluster a=1")...)
	b.commit(Remove(a))
	gone := b.want("Cluster -a")
	b.commit(set(clusters, "a", "1"))
	b.subscribe(routes, "r")
	b.want()
	if _, acked, _ := b.srv.Acks(a); acked != 0 {
		t.Error("a resource whose removal is on its way counts as acknowledged")
	}
	b.ack(gone...)
	again := b.want("Cluster a=1")
	b.ack(again...)
	b.ack(b.want("Route r=1")...)
}

func TestACompanionThatGoesOwesNothing(t *testing.T) {
	with := func(version string) Change {
		return Set(Resource{Key: Key{clusters, "a"}, Version: version, Companion: Key{endpoints, "a"}})
	}
	e := Key{endpoints, "a"}
	b := newBench(t, Options{}, with("1"))
	b.subscribe(clusters, "a")
	b.subscribe(endpoints, "a")
	l := b.want("Cluster a=1", "Endpoints -a")
	b.ack(l[0])
	b.commit(with("2"), set(endpoints, "a", "1"))
	b.want("Cluster a=2")
	b.commit(Remove(Key{clusters, "a"}), Remove(e))
	b.ack(l[1])
	b.want()
	if needed, acked, _ := b.srv.Acks(e); needed != 1 || acked != 1 {
		t.Errorf("Acks = %d, %d, want 1, 1: it was told that there are none", needed, acked)
	}
}

// After a rejection of several together nobody knows which version of each the
// client has: going back to the old one is a change, too.
func TestWhatTheClientHasIsMadeSureOf(t *testing.T) {
	c := Key{clusters, "c"}
	b := newBench(t, Options{}, set(clusters, "c", "1"), set(clusters, "d", "1"), set(routes, "r", "1"))
	b.subscribe(clusters, "c", "d")
	b.subscribe(routes, "r")
	b.ack(b.want("Cluster c=1 d=1", "Route r=1")...)
	b.commit(Remove(c), set(clusters, "d", "2"))
	b.nack(b.want("Cluster -c d=2")[0], "d is bad") // and c is gone
	b.commit(set(clusters, "c", "2"))
	b.nack(b.want("Cluster c=2")[0], "c is bad, too")
	b.nack(b.want("Cluster d=2")[0], "still bad")
	b.commit(set(clusters, "c", "1"), set(routes, "r", "2", c))
	l := b.want("Cluster c=1") // and the route waits for it
	if _, acked, _ := b.srv.Acks(c); acked != 0 {
		t.Error("a version that the client may not have counts as acknowledged")
	}
	b.ack(l...)
	b.ack(b.want("Route r=2")...)
}

// A client that comes back with old endpoints gets the new ones before what
// needs their cluster: the cluster may still wait for them.
func TestAResumedClusterWaitsForItsEndpoints(t *testing.T) {
	a := Key{clusters, "a"}
	b := newBench(t, Options{},
		Set(Resource{Key: a, Version: "1", Companion: Key{endpoints, "a"}}), set(endpoints, "a", "1"), set(routes, "r", "1", a))
	for url, version := range map[string]string{clusters: "1", endpoints: "0"} {
		b.request(&discoveryv3.DeltaDiscoveryRequest{
			TypeUrl: url, ResourceNamesSubscribe: []string{"a"}, InitialResourceVersions: map[string]string{"a": version},
		})
	}
	b.subscribe(routes, "r")
	b.ack(b.want("Endpoints a=1")...)
	b.ack(b.want("Route r=1")...)
}
