// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestChanges: each change is told once, with the time before which it can't have been, for every target.
func TestChanges(t *testing.T) {
	var generation atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "a.example" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/"+strconv.FormatInt(generation.Load(), 10), http.StatusFound)
	}))
	defer srv.Close()
	address := srv.Listener.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	in, out := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"-every", "1ms", "a http://a.example/x " + address, "wrong " + srv.URL}, out, io.Discard)
	}()
	lines := json.NewDecoder(in)
	read := func() Change {
		t.Helper()
		var c Change
		if err := lines.Decode(&c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := map[string]Change{}
	for range 2 {
		c := read()
		first[c.Target] = c
	}
	if c := first["a"]; c.Answer != "/0" || c.At == 0 || c.Before != 0 {
		t.Errorf("%+v", c)
	}
	if c := first["wrong"]; c.Answer != "status 503" {
		t.Errorf("%+v", c)
	}
	for i := range 5 {
		edited := time.Now().UnixNano()
		generation.Add(1)
		c := read()
		if c.Target != "a" || c.Answer != "/"+strconv.Itoa(i+1) || c.At < edited || c.Before > c.At || c.Before < first["a"].At {
			t.Errorf("edit %d at %d: %+v", i, edited, c)
		}
	}
	srv.CloseClientConnections()
	srv.Close()
	if c := read(); !strings.HasPrefix(c.Answer, "error: ") {
		t.Errorf("%+v", c)
	}
	stop()
	go func() { _, _ = io.Copy(io.Discard, in) }()
	if code := <-ended; code != 0 {
		t.Errorf("exit %d", code)
	}
}

// TestWrongArguments: nothing is asked.
func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"a"}, {"a b"}, {"a ftp://b"}, {"a http://"}, {"a http://b c d"}, {"-every", "0", "a http://b"}, {"-x"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != 2 || errs.Len() == 0 || out.Len() > 0 {
			t.Errorf("%q: exit %d, %s%s", args, code, &out, &errs)
		}
	}
}
