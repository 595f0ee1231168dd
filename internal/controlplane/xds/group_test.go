// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"fmt"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestNamesOfAGroup: pods of a namespace that subscribe to all that exists on all of their streams have in all what
// one stream for each of them may have, and one more. A pod that does so on one stream, and one of another
// namespace, is served.
func TestNamesOfAGroup(t *testing.T) {
	const exist, pods = 100, 20
	var changes []Change
	var all []string
	for i := range exist {
		name := fmt.Sprint("c-", i)
		changes = append(changes, set(clusters, name, "1"))
		all = append(all, name)
	}
	b := newBench(t, Options{SpareNames: 1, Owner: func(p Principal) Owner {
		pod, _ := p.(string)
		namespace, _, _ := strings.Cut(pod, "/")
		return Owner{Key: pod, Streams: 4, Group: namespace}
	}}, changes...)
	limit := b.srv.maxNames()
	open := func(pod string) (*session, error) {
		ss := b.srv.open(pod)
		return ss, deliver(ss, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResourceNamesSubscribe: all})
	}
	refused := 0
	var sessions []*session
	for range 4 {
		for i := range pods {
			ss, err := open(fmt.Sprint("evil/p-", i))
			if err == nil {
				sessions = append(sessions, ss)
				continue
			}
			if status.Code(err) != codes.ResourceExhausted {
				t.Fatal(err)
			}
			b.srv.end(ss)
			refused++
		}
	}
	sum := 0
	for _, ss := range sessions {
		sum += ss.names
	}
	if most := (pods + 1) * limit; sum > most || sum < pods*exist || refused == 0 {
		t.Errorf("the pods subscribe to %d names, %d at most; %d streams were refused", sum, most, refused)
	}
	if _, err := open("evil/new"); err != nil {
		t.Errorf("a pod of theirs with one stream: %v", err)
	}
	for range 4 {
		if _, err := open("shop/web"); err != nil {
			t.Errorf("a pod of another namespace: %v", err)
		}
	}
	for _, ss := range sessions {
		b.srv.end(ss)
	}
	if g := b.srv.owners.groups["evil"]; g == nil || g.owners != 1 || g.names != exist {
		t.Errorf("after the end: %+v", g)
	}
}

// TestGroupsAreForgotten: nothing is left of a group without streams.
func TestGroupsAreForgotten(t *testing.T) {
	l := owners{byKey: map[any]*owner{}}
	now := time.Unix(1_000_000, 0)
	first, second := &session{}, &session{}
	who := Owner{Key: "pod", Streams: 1, Group: "shop"}
	l.join(who, first, now)
	first.owner.count(5, 10)
	if over := l.join(who, second, now); len(over) != 1 {
		t.Errorf("%d streams are too many", len(over))
	}
	second.owner.count(7, 10)
	l.leave(second, now)
	second.owner.count(-7, 0)
	if g := l.groups["shop"]; g == nil || g.owners != 0 || g.names != 5 {
		t.Errorf("a stream is being closed: %+v", g)
	}
	first.owner.count(-5, 0)
	l.leave(first, now)
	if len(l.groups) != 0 {
		t.Errorf("%d groups are left", len(l.groups))
	}
	own := &session{}
	l.join(Owner{Key: 1}, own, now)
	if own.owner.count(20, 10) != true || own.owner.count(1, 10) {
		t.Error("an owner without a group does not have twice what a stream may have")
	}
}
