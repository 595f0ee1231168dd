// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package agent

import (
	"context"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tulle.dev/tulle/internal/dataplane/envoy"
)

// TestSilentEnvoy: an Envoy that has served is held to serve until it did not answer several times in a
// row; one that says no is believed at once.
func TestSilentEnvoy(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var says atomic.Int64 // a status; 0: nothing, until it is not asked any more
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := says.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		<-r.Context().Done()
	})}
	go func() { _ = srv.Serve(lis) }()
	defer srv.Close()

	a := &agent{admin: envoy.NewAdmin(socket), process: &envoy.Process{}, ready: true}
	for i, c := range []struct {
		status int64
		serves bool
	}{
		{200, true},
		{0, true},
		{0, true},
		{0, true},
		{0, true},
		{200, true}, // which begins anew
		{0, true},
		{0, true},
		{0, true},
		{0, true},
		{0, false},
		{0, false},
		{200, true},
		{503, false},
	} {
		limit := time.Minute
		if c.status == 0 {
			limit = 20 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		says.Store(c.status)
		if lacks := a.lacks(ctx); (lacks == "") != c.serves {
			t.Errorf("look %d: lacks %q, want that it serves: %v", i, lacks, c.serves)
		}
		cancel()
	}
}

// TestBusyEnvoy: an Envoy whose main thread works serves although it does not answer. It does not for ever,
// and not when the thread stops working.
func TestBusyEnvoy(t *testing.T) {
	loop := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
	if err := loop.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = loop.Process.Kill(); _ = loop.Wait() })
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close() // nothing accepts
	a := &agent{admin: envoy.NewAdmin(lis.Addr().String()), process: &envoy.Process{PID: loop.Process.Pid}, ready: true}
	look := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return a.lacks(ctx) == ""
	}
	for i := range 10 * maxSilent {
		if !look() {
			t.Fatalf("an Envoy that is busy does not serve after %d looks", i+1)
		}
	}
	a.silent = maxBusy - 1
	if look() {
		t.Error("an Envoy that is busy for ever serves")
	}
	a.silent = 0
	if err := loop.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	n := 0
	for look() {
		if n++; n > 2*maxSilent {
			t.Fatal("an Envoy that is stuck serves")
		}
	}
}
