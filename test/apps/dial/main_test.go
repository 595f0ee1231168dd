// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func dial(t *testing.T, args ...string) result {
	t.Helper()
	o, do, err := parse(args)
	if err != nil {
		t.Fatal(err)
	}
	return run(t.Context(), o, do)
}

// TestHTTP: status, length, trailer, and a body that is only sent when it is asked for.
func TestHTTP(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		w.Header()["X-Seen"] = r.Header["X-Sent"]
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-End")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.CopyN(w, zeros{}, n)
		w.Header().Set("X-End", "yes")
	}))
	defer srv.Close()
	r := dial(t, "http", "-method", "POST", "-body", "100000", "-expect", "-header", "x-sent: a: b", "-header", "X-Sent:c", srv.URL)
	if r.Error != "" || r.Status != 418 || r.Bytes != 100000 || !r.Continued || r.Trailer["X-End"][0] != "yes" || len(r.Text) != shown ||
		!slices.Equal(r.Header["X-Seen"], []string{"a: b", "c"}) {
		t.Errorf("%+v", r)
	}
	if r = dial(t, "http", "-method", "POST", "-body", "10", "-expect", srv.URL+"/refused"); r.Continued || r.Status != 417 {
		t.Errorf("%+v", r)
	}
}

// TestTCP: a line first, then what was written and the end; and nobody listens.
func TestTCP(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c, err := lis.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "hello\n")
		_, _ = io.Copy(c, c)
		c.Close()
	}()
	r := dial(t, "tcp", "-first", "-half-close", "-send", `a\r\nb`, lis.Addr().String())
	if r.Error != "" || r.Text != "hello\na\r\nb" || r.Bytes != 10 {
		t.Errorf("%+v", r)
	}
	lis.Close()
	if r = dial(t, "tcp", lis.Addr().String()); !strings.Contains(r.Error, "refused") {
		t.Errorf("%+v", r)
	}
}

// TestWrong: what makes no sense is refused.
func TestWrong(t *testing.T) {
	for _, args := range [][]string{{}, {"ftp", "a"}, {"http"}, {"tcp", "-send", `\q`, "a:1"}, {"http", "a", "b"}} {
		if _, _, err := parse(args); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
