// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"fmt"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// script is what a client sends, in the form that FuzzStream reads: for each
// request a byte that says what happens before it, and the request.
func script(t testing.TB, requests ...*discoveryv3.DeltaDiscoveryRequest) []byte {
	var b []byte
	for i, r := range requests {
		m, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		b = protowire.AppendBytes(append(b, byte(i)), m)
	}
	return b
}

// FuzzStream sends any requests, with commits in between. Nothing may panic or
// get lost: not more than one response of a type is on its way, and a stream
// that ends leaves nothing behind.
func FuzzStream(f *testing.F) {
	sub := func(url string, names ...string) *discoveryv3.DeltaDiscoveryRequest {
		return &discoveryv3.DeltaDiscoveryRequest{TypeUrl: url, ResourceNamesSubscribe: names}
	}
	answer := func(url, nonce, text string) *discoveryv3.DeltaDiscoveryRequest {
		r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: url, ResponseNonce: nonce}
		if text != "" {
			r.ErrorDetail = &statuspb.Status{Message: text}
		}
		return r
	}
	resumed := sub(clusters, "a", "b", "x")
	resumed.InitialResourceVersions = map[string]string{"a": "0", "b": "old", "x": "1"}
	left := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResourceNamesUnsubscribe: []string{"a", "a", "never"}}
	f.Add(script(f, sub(clusters, "a", "b", "a"), answer(clusters, "1", ""), left, sub(clusters, "a"), answer(clusters, "2", "no")))
	f.Add(script(f, resumed, sub(routes, "r"), answer(clusters, "1", "no"), answer(routes, "2", ""), answer(clusters, "3", "no"), answer(clusters, "4", "")))
	f.Add(script(f, sub(scopes, "s"), sub(routes, "r"), sub(endpoints, "a", "b"), answer(scopes, "1", ""), sub(clusters, "a", "b"), answer(endpoints, "2", "no")))
	f.Add(script(f, sub("other", "x"), sub("", "x"), sub(clusters, "*", "hidden"), &discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters}))
	f.Add(script(f, noteOf(noted, "REPORT", "x"), sub(clusters, "a"), noteOf(noted, "REPORT", "y"), answer(noted, "1", "")))
	f.Add([]byte("\x00\x05nonsense"))
	f.Fuzz(func(t *testing.T, data []byte) {
		store := NewStore(testTypes()...)
		clock := time.Unix(1_000_000, 0)
		srv := testServer(t, store, &clock, Options{Authenticate: nobody, SpareNames: 50, NodeFields: []string{"REPORT"}, Notes: []string{noted}, NoteFields: []string{"REPORT"}})
		commit := func(rev int) {
			a, b := Key{clusters, "a"}, Key{clusters, "b"}
			changes := []Change{
				Set(Resource{Key: a, Version: fmt.Sprint(rev), Companion: Key{endpoints, "a"}}), set(endpoints, "a", fmt.Sprint(rev/2)),
				set(clusters, "b", fmt.Sprint(rev/3)), set(routes, "r", fmt.Sprint(rev), a, b), set(scopes, "s", fmt.Sprint(rev/4)),
			}
			if rev%3 == 1 {
				changes = []Change{Remove(b), set(routes, "r", fmt.Sprint(rev), a)}
			}
			if _, err := store.Commit(changes...); err != nil {
				t.Fatal(err)
			}
		}
		commit(0)
		ss := srv.open("fuzz")
		rev := 0
		for len(data) > 0 {
			what := data[0]
			m, n := protowire.ConsumeBytes(data[1:])
			if n < 0 {
				break
			}
			data = data[1+n:]
			if what&1 != 0 {
				rev++
				commit(rev)
			}
			if what&2 != 0 {
				clock = clock.Add(time.Second)
			}
			unacked := map[string]bool{}
			for _, w := range ss.watches {
				unacked[w.url] = w.inflight
			}
			for sent := 0; what&4 == 0; sent++ {
				r := ss.next(clock)
				if r == nil {
					break
				}
				var out discoveryv3.DeltaDiscoveryResponse
				b, err := codec{}.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				if err := proto.Unmarshal(b.Materialize(), &out); err != nil {
					t.Fatal(err)
				}
				if unacked[out.GetTypeUrl()] || len(out.GetResources())+len(out.GetRemovedResources()) == 0 {
					t.Fatalf("a second or empty response: %v", &out)
				}
				unacked[out.GetTypeUrl()] = true
			}
			if ss.deltas()(m) != nil {
				break
			}
		}
		srv.Streams()
		ss.close()
		ss.sleep()
		if n := srv.backlog.Load(); n != 0 {
			t.Errorf("backlog = %d after the only stream ended", n)
		}
		checkEmpty(t, 0, store)
		if n := srv.owners.unknown; n != 0 {
			t.Errorf("%d bytes are charged after the only stream ended", n)
		}
	})
}
