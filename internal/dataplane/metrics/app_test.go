// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestHTTP: what the application serves, from where, and how much.
func TestHTTP(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		io.WriteString(w, "stolen 1\n")
	}))
	defer other.Close()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics":
			io.WriteString(w, "accept "+r.Header.Get("Accept")+"\n")
		case "/moved":
			http.Redirect(w, r, "/metrics", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other.URL+"/", http.StatusFound)
		case "/other-name":
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/endless":
			for line := strings.Repeat("x", 1<<16) + "\n"; ; {
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
			}
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", 2*maxAppHeaders))
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer app.Close()
	for path, want := range map[string]string{
		"/metrics": "accept text/plain;version=0.0.4\n", "/moved": "accept text/plain;version=0.0.4\n",
		"/other": "", "/away": "", "/other-name": "", "/loop": "", "/headers": "",
	} {
		var b strings.Builder
		err := HTTP((&net.Dialer{}).DialContext, app.URL+path)(t.Context(), &b)
		if b.String() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", path, &b, err, want)
		}
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirection to another host was followed")
	}
	var n count
	if err := HTTP((&net.Dialer{}).DialContext, app.URL+"/endless")(t.Context(), &n); err == nil || n > maxApp+1 {
		t.Errorf("of an endless body %d bytes were read: %v", n, err)
	}
}

// count counts what is written.
type count int

func (c *count) Write(p []byte) (int, error) { *c += count(len(p)); return len(p), nil }
