// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package identity

import (
	"context"
	"log/slog"
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
		var behind time.Duration // the control plane's clock
		signs := 0
		sign := func(context.Context, time.Duration) (*Certificate, error) {
			signs++
			now := time.Now().Add(-behind)
			return &Certificate{NotBefore: now.Add(-protocol.Backdate), NotAfter: now.Add(24 * time.Hour)}, nil
		}
		k := NewKeeper(sign, func(*Certificate) {}, slog.New(slog.DiscardHandler))
		go k.Run(ctx)
		want := func(when string, n int) {
			t.Helper()
			synctest.Wait()
			if signs != n {
				t.Errorf("%s: %d certificates, want %d", when, signs, n)
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

		behind = 5 * time.Minute
		k.RenewIssuedBefore(time.Now().Add(-protocol.Backdate))
		time.Sleep(time.Hour)
		want("asked for what a clock behind can't give", 3)
		time.Sleep(24 * time.Hour)
		if signs != 4 && signs != 5 {
			t.Errorf("%d certificates after another day, want the usual renewals", signs)
		}
	})
}
