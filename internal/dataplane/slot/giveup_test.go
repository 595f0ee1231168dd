// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slot

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// unready is an agent that never gets ready, and says why, until it is told to stop.
const unready = `#!/bin/sh
eval "echo '{\"phase\":\"Starting\",\"message\":\"get a certificate from 192.0.2.1:15012: no route to host\"}' >&$TULLE_REPORT_FD"
while read order; do [ "$order" = stop ] && exit 0; done
`

func runs(t *testing.T, l Layout, limit time.Duration) <-chan error {
	t.Helper()
	agent := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(agent, []byte(unready), 0o755); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- Run(Config{Slot: "a", Version: "test", Layout: l, Agent: agent, Log: io.Discard, StartLimit: limit})
	}()
	return ended
}

func terminate(t *testing.T, ended <-chan error) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// TestGivesUp: slot a of a pod whose proxy does not get ready ends with the reason, once soon and then
// late; in a pod that has had a proxy it goes on. Whoever holds the application's start is stopped by the
// kubelet at any moment.
func TestGivesUp(t *testing.T) {
	l := Layout{Root: t.TempDir(), Pod: t.TempDir()}
	ended := runs(t, l, 400*time.Millisecond)

	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan error, 1)
	go func() { held <- Wait(ctx, l, io.Discard) }()
	err := <-ended
	if err == nil || !strings.Contains(err.Error(), "slot a is Starting: get a certificate from 192.0.2.1:15012: no route to host") {
		t.Errorf("the slot ended with %v", err)
	}
	select {
	case err := <-held:
		t.Errorf("the start is no longer held: %v", err)
	default:
	}
	cancel()
	if err := <-held; err == nil {
		t.Error("the start was let go although no proxy is ready")
	}

	// The second time it stays for long.
	ended = runs(t, l, 400*time.Millisecond)
	waitFor(t, func() bool { s, _ := l.State("a"); return s.Phase == protocol.PhaseStarting && s.Message != "" })
	select {
	case err := <-ended:
		t.Fatalf("it gave up again at once: %v", err)
	case <-time.After(time.Second):
	}
	terminate(t, ended)

	// With an application that runs, the slot tries for ever.
	if err := os.Remove(l.at(protocol.GaveUpFile("a"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.at(protocol.LockFile), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ended = runs(t, l, 50*time.Millisecond)
	select {
	case err := <-ended:
		t.Fatalf("it gave up in a pod that has begun: %v", err)
	case <-time.After(time.Second):
	}
	terminate(t, ended)
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("timed out")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
