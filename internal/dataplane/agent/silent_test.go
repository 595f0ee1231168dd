// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package agent

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
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
