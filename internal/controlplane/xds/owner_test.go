// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"fmt"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// TestOwnersShare: even while others use everything up, an owner has a share.
func TestOwnersShare(t *testing.T) {
	l := owners{byKey: map[any]*owner{}}
	now := time.Unix(1_000_000, 0)
	open := func(key any) *owner {
		ss := &session{}
		l.join(Owner{Key: key}, ss, now)
		return ss.owner
	}
	for i := range 2 * unknownAll / unknownEach {
		for o, n := open(fmt.Sprint("evil-", i)), 0; o.charge(longName(n)); n++ {
		}
	}
	if l.unknown > unknownAll+2*unknownShare*unknownAll/unknownEach {
		t.Errorf("%d bytes of all owners", l.unknown)
	}
	good, n := open("good"), 0
	for ; good.charge(longName(n)); n++ {
	}
	if n < 20 {
		t.Errorf("%d names of one that has none yet", n)
	}
	for i := range n {
		good.refund(longName(i))
	}
	if good.unknown != 0 {
		t.Errorf("%d bytes are left", good.unknown)
	}
}

// TestChargedUntilItExists: a name is charged while there is no such resource, and not longer.
func TestChargedUntilItExists(t *testing.T) {
	b := newBench(t, Options{Owner: perPod(0)}, set(clusters, "a", "1"))
	charged := func(what string, names ...string) {
		t.Helper()
		want := int64(0)
		for _, n := range names {
			want += costOf(n)
		}
		if b.srv.owners.unknown != want || b.ss.owner.unknown != want {
			t.Errorf("%s: %d bytes are charged, want %d", what, b.srv.owners.unknown, want)
		}
	}
	b.subscribe(clusters, "a", "b", "hidden", "c")
	charged("before it is answered", "b", "hidden", "c")
	l := b.want("Cluster -b -c -hidden a=1")
	charged("answered", "b", "c")
	b.ack(l...)
	b.commit(set(clusters, "b", "1"))
	charged("one exists", "c")
	b.unsubscribe(clusters, "c")
	charged("and one is not asked for")
	b.commit(Remove(Key{clusters, "b"}))
	charged("what existed is free")
	b.subscribe(endpoints, "x")
	b.subscribe("other", "y")
	charged("two types", "x", "y")
	b.srv.end(b.ss)
	if b.srv.owners.unknown != 0 {
		t.Errorf("%d bytes are charged after the end", b.srv.owners.unknown)
	}
}

// TestAccount: an owner may send much at once, as a proxy that comes back does, and then as much as time
// allows, over all of its streams and over streams that come and go.
func TestAccount(t *testing.T) {
	l := owners{byKey: map[any]*owner{}}
	now := time.Unix(1_000_000, 0)
	a, b := &session{}, &session{}
	l.join(Owner{Key: "pod"}, a, now)
	for range 6 { // what a proxy of 20,000 Services sends at first, of each type
		a.owner.pay(3<<20, 20_000, now)
	}
	for range 1000 {
		a.owner.pay(100, 0, now)
	}
	if d := a.owner.debt(now); d > 0 {
		t.Errorf("it has to wait for %v", d)
	}
	l.leave(a, now)
	l.join(Owner{Key: "pod"}, b, now)
	for range 4 {
		b.owner.pay(8<<20, 10_000, now)
	}
	if d := b.owner.debt(now); d < 10*time.Second {
		t.Errorf("after 50 MiB it has to wait for %v", d)
	}
	if d := b.owner.debt(now.Add(time.Hour)); d > 0 {
		t.Errorf("an hour later: %v", d)
	}
	l.leave(b, now)
	if l.byKey["pod"] == nil {
		t.Error("its account was forgotten")
	}
	for i := range 1024 {
		s := &session{}
		l.join(Owner{Key: i}, s, now.Add(time.Hour))
		l.leave(s, now.Add(2*time.Hour))
	}
	if len(l.byKey) != 0 {
		t.Errorf("%d owners are remembered", len(l.byKey))
	}
}

// TestOverdrawn: a stream whose owner has sent too much is not read from, and goes on later.
func TestOverdrawn(t *testing.T) {
	store := NewStore(testTypes()...)
	mustCommit(t, store, set(clusters, "a", "1"))
	srv, addr, _ := serve(t, store, Options{Owner: perPod(4)})
	stream, _ := dial(t, addr, "pod")
	until(t, "it is open", func() bool { return len(srv.owners.of("pod")) == 1 })
	ss := srv.owners.of("pod")[0]
	ss.owner.pay(int((accountSize+500*time.Millisecond)/byteTime), 0, time.Now())
	for range 3 { // the first one was waited for already
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResourceNamesSubscribe: []string{"a"}}); err != nil {
			t.Fatal(err)
		}
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResponseNonce: m.GetNonce()}); err != nil {
			t.Fatal(err)
		}
	}
	if d := ss.owner.debt(time.Now()); d > time.Second {
		t.Errorf("it still has to wait for %v", d)
	}
}

// TestLogOfOthers: what one client causes does not keep what others cause out of the log.
func TestLogOfOthers(t *testing.T) {
	var l logLimit
	allowed := map[any]int{}
	for i := range 1000 {
		for _, key := range []any{"evil", i % 3} {
			if l.allow(key, 7) {
				allowed[key]++
			}
		}
	}
	if allowed["evil"] != linesEach || allowed[2] != linesEach {
		t.Errorf("allowed: %v", allowed)
	}
	for i := range 1000 {
		l.allow(fmt.Sprint("more-", i), 7)
	}
	if l.lines != linesInAll || len(l.byKey) > linesInAll {
		t.Errorf("%d lines of %d clients in a second", l.lines, len(l.byKey))
	}
	if !l.allow("evil", 8) || len(l.byKey) != 1 {
		t.Error("nothing is allowed in the next second")
	}
}
