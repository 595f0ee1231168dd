// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/protocol"
)

// TestTell: a note is told at once, and again on each stream after the request that says who asks.
func TestTell(t *testing.T) {
	w := newWorld(t)
	w.scope(own, protocol.Scope{})
	told := func() (types, nodes []string) {
		for _, r := range w.toServer {
			types, nodes = append(types, r.TypeURL), append(nodes, string(r.Node))
			if r.TypeURL == "note" && len(r.Subscribe)+len(r.Unsubscribe) > 0 {
				t.Errorf("the note asks for something: %+v", r)
			}
		}
		w.toServer = nil
		return types, nodes
	}
	expect := func(what string, types, nodes []string) {
		t.Helper()
		gotTypes, gotNodes := told()
		if d := cmp.Diff(types, gotTypes); d != "" {
			t.Errorf("%s: types (-want +got):\n%s", what, d)
		}
		if d := cmp.Diff(nodes, gotNodes); d != "" {
			t.Errorf("%s: nodes (-want +got):\n%s", what, d)
		}
	}
	note := func(text string) *wire.Request { return &wire.Request{TypeURL: "note", Node: []byte(text)} }

	w.core.Tell(w.now, note("one"))
	expect("without a stream", nil, nil)
	w.core.Tell(w.now, note("two"))
	w.connect()
	expect("on connect the newest", []string{protocol.ScopeType, "note"}, []string{"node", "two"})
	w.core.Tell(w.now, note("three"))
	expect("at once", []string{"note"}, []string{"three"})
	w.disconnect()
	w.core.Tell(w.now, note("four"))
	expect("the stream is gone", nil, nil)
	w.connect()
	expect("on the next stream", []string{protocol.ScopeType, "note"}, []string{"node", "four"})
}
