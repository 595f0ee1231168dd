// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// FuzzStates does for streams of states of the world what FuzzStream does for delta streams.
func FuzzStates(f *testing.F) {
	script := func(requests ...*discoveryv3.DiscoveryRequest) (b []byte) {
		for i, r := range requests {
			m, err := proto.Marshal(r)
			if err != nil {
				f.Fatal(err)
			}
			b = protowire.AppendBytes(append(b, byte(i)), m)
		}
		return b
	}
	ask := func(url, nonce string, names ...string) *discoveryv3.DiscoveryRequest {
		return &discoveryv3.DiscoveryRequest{TypeUrl: url, ResponseNonce: nonce, ResourceNames: names}
	}
	f.Add(script(ask(clusters, "", "a", "b", "a"), ask(clusters, "1", "a"), ask(clusters, "2"), ask(clusters, "2", "b", "hidden")))
	f.Add(script(ask(routes, "", "r"), ask(clusters, "", "a"), ask(routes, "1", "r"), ask(routes, "old", "r", "x"), ask(endpoints, "", "a")))
	f.Add(script(ask(listeners, ""), ask(listeners, "", "*"), ask("other", "", "x"), ask("", "", "x"), ask(listeners, "", "")))
	f.Add([]byte("\x00\x05nonsense"))
	f.Fuzz(func(t *testing.T, data []byte) {
		store := NewStore(stateTypes()...)
		clock := time.Unix(1_000_000, 0)
		srv := testServer(t, store, &clock, Options{Authenticate: nobody, SpareNames: 50})
		rev := 0
		commit := func() {
			changes := []Change{set(clusters, "a", fmt.Sprint(rev)), set(clusters, "hidden", "1"), set(routes, "r", fmt.Sprint(rev/2)), set(endpoints, "a", fmt.Sprint(rev/3))}
			if rev++; rev%3 == 1 {
				changes = append(changes, Remove(Key{clusters, "b"}))
			} else {
				changes = append(changes, set(clusters, "b", fmt.Sprint(rev/3)))
			}
			if _, err := store.Commit(changes...); err != nil {
				t.Fatal(err)
			}
		}
		commit()
		ss := srv.open("fuzz")
		ss.sotw = true
		take := ss.states()
		for len(data) > 0 {
			what := data[0]
			m, n := protowire.ConsumeBytes(data[1:])
			if n < 0 {
				break
			}
			data = data[1+n:]
			if what&1 != 0 {
				commit()
			}
			if what&2 != 0 {
				clock = clock.Add(time.Second)
			}
			unacked := map[string]bool{}
			for _, w := range ss.watches {
				unacked[w.url] = w.inflight
			}
			for what&4 == 0 {
				r := ss.next(clock)
				if r == nil {
					break
				}
				var out discoveryv3.DiscoveryResponse
				b, err := codec{}.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				if err := proto.Unmarshal(b.Materialize(), &out); err != nil {
					t.Fatal(err)
				}
				if unacked[out.GetTypeUrl()] || bytes.Contains(b.Materialize(), []byte("body of hidden")) {
					t.Fatalf("a second response, or what is hidden: %v", &out)
				}
				unacked[out.GetTypeUrl()] = true
			}
			if take(m) != nil {
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
