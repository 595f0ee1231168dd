// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tulle.dev/tulle/internal/dataplane/slot"
	"tulle.dev/tulle/internal/protocol"
)

// live makes a slot whose pid 1 lives, and an Envoy that names it.
func live(t *testing.T, root string, s protocol.State) {
	t.Helper()
	at := func(path string) string { return root + strings.TrimPrefix(path, protocol.RunDir) }
	if err := os.MkdirAll(at(protocol.SlotDir(s.Slot)), 0o755); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at(protocol.StateFile(s.Slot)), body, 0o644); err != nil {
		t.Fatal(err)
	}
	alive, err := os.Create(at(protocol.AliveFile(s.Slot)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { alive.Close() })
	if err := syscall.Flock(int(alive.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("unix", at(protocol.AdminSocket(s.Slot)))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/certs" {
			http.Error(w, "no certificates", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, s.Slot, " ", r.RequestURI)
	})}
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(func() { srv.Close() })
}

// TestRun: the slot that serves is asked, with the query, and Envoy's refusal is told.
func TestRun(t *testing.T) {
	root := t.TempDir()
	live(t, root, protocol.State{Slot: "a", Phase: protocol.PhaseDraining, Generation: 1})
	live(t, root, protocol.State{Slot: "b", Phase: protocol.PhaseReady, Generation: 2})
	var out bytes.Buffer
	if err := run(t.Context(), slot.Layout{Root: root}, []string{"GET", "/config_dump?include_eds"}, &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != "b /config_dump?include_eds" {
		t.Error(out.String())
	}
	err := run(t.Context(), slot.Layout{Root: root}, []string{"GET", "/certs"}, &out)
	if err == nil || !strings.Contains(err.Error(), "no certificates") {
		t.Error(err)
	}
}

// TestActive: who serves, else who tries to; a slot without a living pid 1 does not count.
func TestActive(t *testing.T) {
	for _, c := range []struct {
		a, b protocol.Phase
		want string
	}{
		{protocol.PhaseReady, protocol.PhaseStandby, "a"},
		{protocol.PhaseStandby, protocol.PhaseReady, "b"},
		{protocol.PhaseReady, protocol.PhaseReady, "b"},
		{protocol.PhaseReady, protocol.PhaseStarting, "a"},
		{protocol.PhaseFailed, protocol.PhaseStandby, "a"},
		{protocol.PhaseDraining, protocol.PhaseStarting, "b"},
		{protocol.PhaseStandby, protocol.PhaseStandby, ""},
	} {
		root := t.TempDir()
		live(t, root, protocol.State{Slot: "a", Phase: c.a, Generation: 1})
		live(t, root, protocol.State{Slot: "b", Phase: c.b, Generation: 2})
		got, err := active(slot.Layout{Root: root})
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("a %s, b %s: %q, %v", c.a, c.b, got, err)
		}
	}
	dead := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dead, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead, "a", "state.json"), []byte(`{"slot":"a","phase":"Ready"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := active(slot.Layout{Root: dead}); err == nil {
		t.Errorf("a dead slot serves: %q", got)
	}
}

// TestAllowed: whatever could change the proxy, or lead elsewhere, is refused.
func TestAllowed(t *testing.T) {
	for _, path := range append(Paths(), "/stats?format=json&usedonly") {
		if got, err := allowed(path); err != nil || got != path {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	for _, path := range []string{
		"", "quitquitquit", "/quitquitquit", "/logging?level=debug", "/drain_listeners", "/stats/../quitquitquit",
		"/config_dump/", "//evil/stats", "http://evil/stats", "/reset_counters", "/runtime_modify?a=b", "/stats%2f..%2fquitquitquit",
	} {
		if got, err := allowed(path); err == nil {
			t.Errorf("%q was allowed as %q", path, got)
		}
	}
	var out bytes.Buffer
	for _, args := range [][]string{nil, {"POST", "/stats"}, {"GET"}, {"GET", "/stats", "x"}} {
		if err := run(t.Context(), slot.Layout{Root: t.TempDir()}, args, &out); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
