// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/dataplane/tally"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// scene is a reporter, what its Envoy has counted, and what it told when.
type scene struct {
	*reporter
	mu     sync.Mutex
	sample tally.Sample
	err    error
	told   []string
}

func newScene(ctx context.Context) *scene {
	s := &scene{}
	began := time.Now()
	s.reporter = newReporter(func(context.Context) (tally.Sample, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.sample, s.err
	}, func(r protocol.Report) {
		b, _ := json.Marshal(r)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told = append(s.told, time.Since(began).String()+" "+string(b))
	}, slog.New(slog.DiscardHandler))
	go s.run(ctx)
	return s
}

func (s *scene) count(x tally.Sample, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sample, s.err = x, err
}

// expect checks what was told since the last call.
func (s *scene) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := cmp.Diff(want, s.told); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
	s.told = nil
}

// TestReports is a proxy's life as the control plane hears of it.
func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newScene(ctx)
		s.expect(t, "at once", `0s {"phase":"Starting","window":"0s","requests":0,"failures":0,"p50":0,"p99":0,"restarts":0}`)

		time.Sleep(time.Second)
		started := time.Now()
		s.see(course{phase: protocol.PhaseStarting, message: "Envoy is initializing", envoys: 1, started: started})
		s.expect(t, "another Envoy", `1s {"phase":"Starting","message":"Envoy is initializing","window":"0s","requests":0,"failures":0,"p50":0,"p99":0,"restarts":0}`)
		s.see(course{phase: protocol.PhaseReady, envoys: 1, started: started})
		time.Sleep(reportLeast)
		s.expect(t, "the phase, not twice in a moment", `1.2s {"phase":"Ready","window":"0s","requests":0,"failures":0,"p50":0,"p99":0,"restarts":0}`)

		times := tally.Histogram{{Low: 4, Width: 1, Count: 100}}
		s.count(tally.Sample{Begun: 100, Headed: 100, Answered: 100, Errors: 2, Times: times}, nil)
		time.Sleep(3800 * time.Millisecond)
		s.expect(t, "the first look", `5s {"phase":"Ready","window":"4s","requests":100,"failures":2,"p50":4.5,"p99":4.99,"restarts":0}`)
		time.Sleep(20 * time.Second)
		s.expect(t, "nothing new")
		time.Sleep(10 * time.Second)
		s.expect(t, "all as before", `35s {"phase":"Ready","window":"34s","requests":100,"failures":2,"p50":4.5,"p99":4.99,"restarts":0}`)

		s.count(tally.Sample{}, errors.New("connection refused"))
		time.Sleep(time.Second)
		s.see(course{phase: protocol.PhaseStarting, message: "Envoy is about to be started", restarts: 1, envoys: 1, started: started})
		s.expect(t, "Envoy has gone", `36s {"phase":"Starting","message":"Envoy is about to be started","window":"34s","requests":100,"failures":2,"p50":4.5,"p99":4.99,"restarts":1}`)
		time.Sleep(time.Second)
		s.expect(t, "once")
		s.see(course{phase: protocol.PhaseReady, restarts: 1, envoys: 2, started: time.Now()})
		s.expect(t, "the window begins anew", `37s {"phase":"Ready","window":"0s","requests":0,"failures":0,"p50":0,"p99":0,"restarts":1}`)
		s.count(tally.Sample{Begun: 7, Headed: 7, Answered: 7}, nil)
		time.Sleep(3 * time.Second)
		s.expect(t, "the second Envoy", `40s {"phase":"Ready","window":"3s","requests":7,"failures":0,"p50":0,"p99":0,"restarts":1}`)
		time.Sleep(time.Second)
		s.see(course{phase: protocol.PhaseDraining, message: "handover", restarts: 1, envoys: 2})
		s.expect(t, "a drain", `41s {"phase":"Draining","message":"handover","window":"3s","requests":7,"failures":0,"p50":0,"p99":0,"restarts":1}`)
		s.count(tally.Sample{Begun: 9, Headed: 9, Answered: 9}, nil)
		time.Sleep(4 * time.Second)
		s.expect(t, "while it lasts", `45s {"phase":"Draining","message":"handover","window":"8s","requests":9,"failures":0,"p50":0,"p99":0,"restarts":1}`)
		cancel()
		synctest.Wait()
	})
}

func TestDue(t *testing.T) {
	was := protocol.Report{Phase: protocol.PhaseReady, Window: protocol.Duration(time.Minute), Requests: 5, P99: 3}
	for name, c := range map[string]struct {
		change func(*protocol.Report)
		ago    time.Duration
		want   bool
	}{
		"nothing":         {func(*protocol.Report) {}, 5 * time.Second, false},
		"only the window": {func(r *protocol.Report) { r.Window++ }, 25 * time.Second, false},
		"a request":       {func(r *protocol.Report) { r.Requests++ }, 5 * time.Second, true},
		"one less":        {func(r *protocol.Report) { r.Requests-- }, 5 * time.Second, true},
		"words":           {func(r *protocol.Report) { r.Message = "x" }, 5 * time.Second, true},
		"a plaintext":     {func(r *protocol.Report) { r.Plaintext = map[string]uint64{"198.18.9.30": 1} }, 5 * time.Second, true},
		"a restart":       {func(r *protocol.Report) { r.Restarts++ }, 5 * time.Second, true},
		"a phase":         {func(r *protocol.Report) { r.Phase = protocol.PhaseDraining }, 0, true},
		"half a minute":   {func(*protocol.Report) {}, 30*time.Second - time.Millisecond, true},
	} {
		now := was
		c.change(&now)
		if got := due(was, now, c.ago); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestPace(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		costs [3]time.Duration
		want  time.Duration
	}{
		{[3]time.Duration{}, 5 * time.Second},
		{[3]time.Duration{40 * ms, 0, 0}, 5 * time.Second},
		{[3]time.Duration{5 * ms, 900 * ms, 900 * ms}, 5 * time.Second},
		{[3]time.Duration{25 * ms, 26 * ms, 900 * ms}, 10 * time.Second},
		{[3]time.Duration{900 * ms, 900 * ms, 900 * ms}, 15 * time.Second},
	} {
		if got := pace(c.costs); got != c.want {
			t.Errorf("after %v: %v, want %v", c.costs, got, c.want)
		}
	}
	if 2*lookLongest > reportAnyway || 3*lookLongest > protocol.ReportWindow {
		t.Error("looks are too rare for the window or for the reports")
	}
}

// TestSlowEnvoy: where a look costs much there are fewer.
func TestSlowEnvoy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var looks atomic.Int64
		r := newReporter(func(context.Context) (tally.Sample, error) {
			time.Sleep(30 * time.Millisecond)
			looks.Add(1)
			return tally.Sample{}, nil
		}, func(protocol.Report) {}, slog.New(slog.DiscardHandler))
		go r.run(ctx)
		time.Sleep(10 * time.Minute)
		if n := looks.Load(); n < 48 || n > 54 {
			t.Errorf("%d looks in ten minutes, want one every 12 s", n)
		}
		cancel()
		synctest.Wait()
	})
}

func TestShorten(t *testing.T) {
	for _, s := range []string{"", "short", strings.Repeat("x", maxMessage), strings.Repeat("ž", maxMessage)} {
		got := shorten(s)
		if len(got) > maxMessage || !utf8.ValidString(got) || len(s) <= maxMessage && got != s {
			t.Errorf("%.20q of %d bytes becomes %.20q of %d", s, len(s), got, len(got))
		}
	}
}

// TestNote: a report fits what a control plane keeps of a note, 4 KiB.
func TestNote(t *testing.T) {
	s := Settings{Kind: names.KindSidecar, Namespace: strings.Repeat("n", 63), Pod: strings.Repeat("p", 253), PodUID: strings.Repeat("u", 36)}
	b, err := s.note(protocol.Report{Phase: protocol.PhaseStarting, Message: shorten(strings.Repeat("\x01", 2000)), Requests: 1 << 60, Failures: 1 << 60, P50: 1234567.123, P99: 7654321.321})
	if err != nil || len(b) > 4<<10 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	b, err = s.note(protocol.Report{Phase: protocol.PhaseReady, Requests: 1 << 60, Failures: 1 << 60, P50: 1234567.123, P99: 7654321.321, Plaintext: plaintext(sources(1000))})
	if err != nil || len(b) > 4<<10 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// sources are so many, the longest addresses and counts there are.
func sources(n int) (list []tally.Source) {
	for i := range n {
		list = append(list, tally.Source{Addr: netip.MustParseAddr(fmt.Sprintf("fd00:1234:5678:9abc:def0:1234:5678:%x", 0xf000+i)), Count: 1<<60 + uint64(i)})
	}
	return list
}

// TestPlaintext: all sources are reported, and of too many those that may be pods.
func TestPlaintext(t *testing.T) {
	at := func(ip string, n uint64) tally.Source { return tally.Source{Addr: netip.MustParseAddr(ip), Count: n} }
	if got := plaintext(nil); got != nil {
		t.Errorf("nothing: %v", got)
	}
	if d := cmp.Diff(map[string]uint64{"10.0.0.1": 2, "203.0.113.7": 1}, plaintext([]tally.Source{at("203.0.113.7", 1), at("10.0.0.1", 2)})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	var many []tally.Source
	for i := range 100 {
		many = append(many, at(fmt.Sprintf("203.0.113.%d", i), 1000))
	}
	many = append(many, at("10.0.0.1", 1), at("100.64.3.4", 1), at("fd00::7", 1), at("203.0.113.200", 2000))
	got := plaintext(many)
	for _, ip := range []string{"10.0.0.1", "100.64.3.4", "fd00::7", "203.0.113.200"} {
		if got[ip] == 0 {
			t.Errorf("%s is left out", ip)
		}
	}
	if len(got) != protocol.MaxPlaintext {
		t.Errorf("%d addresses are reported", len(got))
	}
}
