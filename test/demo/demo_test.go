// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/test/load"
)

// TestFits: chance is let through, a wrong split is not.
func TestFits(t *testing.T) {
	for _, c := range []struct {
		s    share
		p    float64
		want bool
	}{
		{share{900, 100}, 0.1, true},
		{share{870, 130}, 0.1, true},
		{share{500, 500}, 0.1, false},
		{share{1000, 0}, 0.1, false},
		{share{480, 520}, 0.5, true},
		{share{900, 100}, 0.5, false},
		{share{}, 0.5, false},
	} {
		if got := c.s.fits(c.p); got != c.want {
			t.Errorf("%v at %v: %v", c.s, c.p, got)
		}
	}
}

// TestBetween: only what was counted in the window counts.
func TestBetween(t *testing.T) {
	t0 := time.Now()
	s := &stream{}
	for i, n := range []int{10, 20, 40, 80} {
		s.seen = append(s.seen, sample{t0.Add(time.Duration(i) * time.Second), load.Summary{
			Versions: map[string]map[string]int{"reviews": {"v1": n, "v2": i}},
		}})
	}
	got := s.between(t0.Add(500*time.Millisecond), t0.Add(2500*time.Millisecond))
	if d := cmp.Diff(map[string]map[string]int{"reviews": {"v1": 20, "v2": 1}}, got); d != "" {
		t.Error(d)
	}
	if got := s.between(t0.Add(time.Hour), t0.Add(2*time.Hour)); got != nil {
		t.Error(got)
	}
}

// TestFollow: a log is read to its last summary; one that breaks off, or is none, is an error.
func TestFollow(t *testing.T) {
	whole := `{"sent":1}` + "\n" + `{"sent":2,"done":true}` + "\n"
	s := &stream{}
	if err := s.follow(io.NopCloser(strings.NewReader(whole))); err != nil || s.last().Sent != 2 {
		t.Errorf("%v, %+v", err, s.last())
	}
	for _, bad := range []string{"", `{"sent":1}` + "\n", "exec format error\n"} {
		if err := new(stream).follow(io.NopCloser(strings.NewReader(bad))); err == nil {
			t.Errorf("%q was taken for a whole log", bad)
		}
	}
}

// TestProgrammed: every parent must be acknowledged in the generation that counts.
func TestProgrammed(t *testing.T) {
	read := func(text string) *unstructured.Unstructured {
		u := new(unstructured.Unstructured)
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		return u
	}
	one := func(status string, generation string) string {
		return `{type: tulle.dev/Programmed, status: "` + status + `", observedGeneration: ` + generation + `, reason: R, message: acknowledged by 2 of 2 proxies}`
	}
	for text, want := range map[string]bool{
		`{}`: false,
		`{status: {parents: [{conditions: [` + one("True", "2") + `]}]}}`:                                              true,
		`{status: {parents: [{conditions: [` + one("True", "1") + `]}]}}`:                                              false,
		`{status: {parents: [{conditions: [` + one("False", "2") + `]}]}}`:                                             false,
		`{status: {parents: [{conditions: [` + one("True", "2") + `]}, {conditions: []}]}}`:                            false,
		`{status: {parents: [{conditions: [` + one("True", "2") + `]}, {conditions: [` + one("Unknown", "2") + `]}]}}`: false,
	} {
		// YAML numbers become floats in maps; the API server's client makes integers of them.
		u := read(text)
		integers(u.Object)
		if got, why := programmed(u, 2); got != want {
			t.Errorf("%s: %v (%s)", text, got, why)
		}
	}
}

func integers(v any) {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			if f, ok := e.(float64); ok {
				x[k] = int64(f)
			}
			integers(e)
		}
	case []any:
		for _, e := range x {
			integers(e)
		}
	}
}

// TestAwait: it ends when done, when time is up (saying what is missing) and when told to.
func TestAwait(t *testing.T) {
	say := quiet(t)
	n := 0
	if err := await(t.Context(), say, time.Minute, func(context.Context) (bool, string, error) { n++; return n == 3, "", nil }); err != nil || n != 3 {
		t.Error(err, n)
	}
	err := await(t.Context(), say, 50*time.Millisecond, func(context.Context) (bool, string, error) { return false, "the bus", nil })
	if err == nil || !strings.Contains(err.Error(), "the bus") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := await(ctx, say, time.Minute, func(context.Context) (bool, string, error) { return false, "", nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestConclude: a failed request, a wrong split and a missing identity each make the demo fail.
func TestConclude(t *testing.T) {
	t0 := time.Now().Add(-time.Minute)
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	good := func() *demo {
		var seen []sample
		for i, v := range [][2]int{{0, 0}, {900, 100}, {910, 110}, {1410, 610}} {
			seen = append(seen, sample{at(1 + i*10), load.Summary{
				Sent: v[0] + v[1], Versions: map[string]map[string]int{"reviews": {"v1": v[0], "v2": v[1]}},
				Callers: map[string]map[string]int{"reviews": {"spiffe://a": 1}},
			}})
		}
		return &demo{say: quiet(t), result: result{
			streams: []*stream{{name: "a", seen: seen}}, started: at(0), moved: at(12), taken: at(13), acked: at(14),
		}}
	}
	if err := good().conclude(); err != nil {
		t.Error(err)
	}
	for says, spoil := range map[string]func(*load.Summary){
		"2 requests a failed: x": func(s *load.Summary) { s.Failed, s.Failures = 2, map[string]int{"x": 2} },
		"asked for was 50/50":    func(s *load.Summary) { s.Versions["reviews"] = map[string]int{"v1": 1900, "v2": 120} },
		"without an identity":    func(s *load.Summary) { s.Callers["reviews"][""] = 1 },
		"no request was sent":    func(s *load.Summary) { s.Sent = 0 },
	} {
		d := good()
		seen := d.result.streams[0].seen
		spoil(&seen[len(seen)-1].Summary)
		if err := d.conclude(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is missing from %v", says, err)
		}
	}
}

// TestPlainOutput: nothing but text where there is no terminal.
func TestPlainOutput(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	s := newSpeaker(f)
	s.heading("a")
	s.now("b")
	s.line("c")
	f.Close()
	got, err := os.ReadFile(name)
	if err != nil || bytes.ContainsAny(got, "\x1b\r") || string(got) != "\na\n  b\n  c\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func quiet(t *testing.T) *speaker {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return newSpeaker(f)
}
