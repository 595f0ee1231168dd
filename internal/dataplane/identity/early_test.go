// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package identity

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// TestRenewsEarlyWhenAsked: a certificate that begins before the time asked for is renewed soon, once,
// and a newer one is not.
func TestRenewsEarlyWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var behind atomic.Int64 // the control plane's clock, in nanoseconds
		var signs atomic.Int64
		sign := func(context.Context, time.Duration) (*Certificate, error) {
			signs.Add(1)
			now := time.Now().Add(-time.Duration(behind.Load()))
			return &Certificate{NotBefore: now.Add(-protocol.Backdate), NotAfter: now.Add(24 * time.Hour)}, nil
		}
		k := NewKeeper(sign, func(*Certificate) {}, slog.New(slog.DiscardHandler))
		go k.Run(ctx)
		want := func(when string, n int64) {
			t.Helper()
			synctest.Wait()
			if got := signs.Load(); got != n {
				t.Errorf("%s: %d certificates, want %d", when, got, n)
			}
		}
		want("start", 1)
		first := time.Now()
		k.RenewIssuedBefore(first.Add(-protocol.Backdate))
		time.Sleep(time.Minute)
		want("asked for what it has", 1)

		k.RenewIssuedBefore(time.Now().Add(-protocol.Backdate))
		time.Sleep(protocol.RenewWithin)
		want("asked for a newer one", 2)
		time.Sleep(time.Minute)
		k.RenewIssuedBefore(first.Add(-protocol.Backdate)) // an older wish says nothing new
		time.Sleep(time.Hour)
		want("later", 2)

		behind.Store(int64(5 * time.Minute))
		k.RenewIssuedBefore(time.Now().Add(-protocol.Backdate))
		time.Sleep(time.Hour)
		want("asked for what a clock behind can't give", 3)
		time.Sleep(24 * time.Hour)
		if got := signs.Load(); got != 4 && got != 5 {
			t.Errorf("%d certificates after another day, want the usual renewals", got)
		}
	})
}
