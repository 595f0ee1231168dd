// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"tulle.dev/tulle/test/apps/advanced"
)

// TestHTTP: the lines by which the suite knows an answer, blocks parted by a blank line, redirections as they are.
func TestHTTP(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		_, _ = w.Write([]byte("Host=" + r.Host + "\n" + advanced.Lines("RequestHeader", r.Header) + advanced.Self("80")))
	}))
	defer srv.Close()
	var out strings.Builder
	o := options{method: "GET", headers: []string{"X-A:b", "Host: other.example"}, count: 2, timeout: 5 * time.Second}
	if err := run(t.Context(), srv.URL+"/x", o, &out); err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(strings.TrimSpace(out.String()), "\n\n")
	if len(blocks) != 2 {
		t.Fatalf("%d blocks, want 2:\n%s", len(blocks), out.String())
	}
	for _, want := range []string{"StatusCode=200\n", "RequestHeader=X-A:b\n", "Host=other.example\n", "Hostname="} {
		if !strings.Contains(blocks[1], want) {
			t.Errorf("no %q in\n%s", want, blocks[1])
		}
	}
	out.Reset()
	if err := run(t.Context(), srv.URL+"/moved", options{method: "GET", count: 1, timeout: 5 * time.Second}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "StatusCode=307\n") || !strings.Contains(out.String(), "ResponseHeader=Location:/elsewhere\n") {
		t.Errorf("%s", out.String())
	}
}

// TestGRPC: a call that is answered is a 200, one that is not has gRPC's own status.
func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		register bool
		want     string
	}{{true, "RequestHeader=X-A:b\n"}, {false, "StatusCode=12\n"}} {
		srv := grpc.NewServer()
		if c.register {
			advanced.Register(srv, "1")
		}
		go func() { _ = srv.Serve(l) }()
		var out strings.Builder
		if err := run(t.Context(), "grpc://"+l.Addr().String(), options{headers: []string{"X-A:b"}, timeout: 5 * time.Second}, &out); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), c.want) || c.register != strings.HasPrefix(out.String(), "StatusCode=200\n") {
			t.Errorf("%s", out.String())
		}
		srv.Stop()
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	if err := run(t.Context(), "ftp://x", options{timeout: time.Second}, &strings.Builder{}); err == nil {
		t.Error("a scheme that is not known is taken")
	}
}
