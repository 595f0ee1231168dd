// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package access

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
)

// flood sends new tokens of strangers from addresses "PREFIX.1" and so on, several at a time from each and the
// next one half a second after each answer, until stop is called.
func flood(g *Guard, prefix string, addresses, each int) (stop func()) {
	var n atomic.Int64
	var ended atomic.Bool
	var wg sync.WaitGroup
	for i := range addresses {
		for range each {
			wg.Go(func() {
				for !ended.Load() {
					call(g, fmt.Sprintf("%s.%d:1", prefix, i+1), "Bearer "+good(fmt.Sprint("stranger", prefix, n.Add(1))))
					<-time.After(time.Second / 2)
				}
			})
		}
	}
	return func() { ended.Store(true); wg.Wait() }
}

// rotated is the nth token of the operator.
func rotated(n int) string {
	return "Bearer " + token("operator", fmt.Sprintf(`{"aud":[%q],"exp":%d}`, audience, start().Add(time.Duration(n)*time.Minute).Unix()))
}

// within calls and reports a caller that is not allowed, or not within a time.
func within(t *testing.T, g *Guard, who, from, authorization string, most time.Duration) {
	t.Helper()
	since := time.Now()
	code, body := call(g, from, authorization)
	if took := time.Since(since); code != http.StatusOK || took > most {
		t.Errorf("%s: %d after %v, want 200 within %v: %s", who, code, took, most, body)
	}
}

// TestStrangers: tokens of strangers are reviewed at a bounded rate and a few at a time. However many come, from
// however many addresses, and however slow the API server is, a caller that was allowed before has its answer at
// once, a token that is new as well if it comes from an address from which a caller was allowed, and a caller that
// comes for the first time after a few seconds.
func TestStrangers(t *testing.T) {
	const slow = 500 * time.Millisecond
	for name, each := range map[string]int{"one token at a time from each": 1, "many tokens from each": 6} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &api{slow: slow}
				g := New(Options{Tokens: tokens{a}, Access: accesses{a}, Mesh: "tulle", Namespace: "tulle-system", Audience: audience, Keep: 5 * time.Second, Log: logr.Discard()})
				within(t, g, "the operator", "192.0.2.1:1", rotated(1), time.Second)
				within(t, g, "another one", "192.0.2.2:1", rotated(2), time.Second)
				began, asked := time.Now(), a.asked()
				stop := flood(g, "198.51.100", 64, each)
				synctest.Wait()
				within(t, g, "the first one of all, as the flood begins", "203.0.113.1:1", rotated(3), 5*time.Second)
				within(t, g, "the operator with its next token", "192.0.2.1:1", rotated(4), time.Second)
				<-time.After(6 * time.Second)
				within(t, g, "the operator whose answer is no longer kept", "192.0.2.1:1", rotated(4), time.Second)
				within(t, g, "one that comes for the first time", "203.0.113.2:1", rotated(5), 3*time.Second)
				behind := flood(g, "192.0.2", 1, 20) // at the operator's own address
				<-time.After(time.Second)
				within(t, g, "another one with its next token", "192.0.2.2:1", rotated(6), time.Second)
				<-time.After(6 * time.Second)
				within(t, g, "another one whose answer is no longer kept", "192.0.2.2:1", rotated(6), time.Second)
				within(t, g, "the operator among strangers at its address", "192.0.2.1:1", rotated(4), time.Second)
				most := strangersAtOnce + int(time.Since(began).Seconds())*(strangersAtOnce+perAddress*4) + 10
				if n := a.asked() - asked; n > most {
					t.Errorf("%d reviews in %v", n, time.Since(began))
				}
				behind()
				stop()
			})
		})
	}
}

// TestStrangersWait: tokens of strangers that an API server never checks take a bounded number of places, fewer at
// each address, are refused after a while, and leave room for a caller that was allowed before.
func TestStrangersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{}
		g := New(Options{Tokens: tokens{a}, Access: accesses{a}, Mesh: "tulle", Namespace: "tulle-system", Audience: audience, Log: logr.Discard()})
		within(t, g, "the operator", "192.0.2.1:1", rotated(1), 0)
		within(t, g, "another one", "192.0.2.2:1", rotated(2), 0)
		<-time.After(time.Second) // their places are free again
		a.mu.Lock()
		a.hold = make(chan struct{})
		a.mu.Unlock()
		var refused atomic.Int64
		var wg sync.WaitGroup
		const all, behind = 1000, 20 // of them at a known address
		for i := range all {
			wg.Go(func() {
				from := fmt.Sprintf("198.51.100.%d:1", i%100)
				if i < behind {
					from = "192.0.2.2:1"
				}
				if code, _ := call(g, from, "Bearer "+good(fmt.Sprint("stranger", i))); code == http.StatusServiceUnavailable {
					refused.Add(1)
				}
			})
		}
		synctest.Wait()
		if n := a.asked() - 2; n != strangersAtOnce+perAddress {
			t.Errorf("%d reviews at once, want %d", n, strangersAtOnce+perAddress)
		}
		if n := len(g.running); n != strangersAtOnce+maxWaiting+behind {
			t.Errorf("%d tokens are reviewed or wait, want %d", n, strangersAtOnce+maxWaiting+behind)
		}
		within(t, g, "the operator with its next token", "192.0.2.1:1", rotated(3), 0)
		<-time.After(keep)
		within(t, g, "the operator", "192.0.2.1:1", rotated(1), 0)
		wg.Wait()
		if n := refused.Load(); n != all {
			t.Errorf("%d of %d are refused", n, all)
		}
	})
}
