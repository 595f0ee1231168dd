// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func limits() BodyLimits {
	return BodyLimits{Bytes: 100_000, Shape: Shape{Elements: 1000, Members: 1000, Depth: 10}}
}

// echo answers with what Bodies.Read returns. hold is waited for before that, if it is not nil.
func echo(b *Bodies, hold chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, no := b.Read(w, r)
		if no != nil {
			http.Error(w, no.Message, no.Status)
			return
		}
		defer body.Release()
		if hold != nil {
			<-hold
		}
		fmt.Fprintf(w, "%d bytes, %d elements", len(body.Bytes), body.Seen.Elements)
	})
}

// TestBodies: a body is read as a whole or refused with what is too much, also without a length.
func TestBodies(t *testing.T) {
	b := NewBodies(limits(), BudgetOptions{Total: 1 << 20, Share: 1 << 19, Wait: time.Second, Waiting: 10, Grace: time.Second})
	for name, c := range map[string]struct {
		body   string
		status int
		says   string
	}{
		"empty":    {"", 200, "0 bytes, 0 elements"},
		"small":    {"[1,2]", 200, "5 bytes, 2 elements"},
		"largest":  {`"` + strings.Repeat("x", 99_998) + `"`, 200, "100000 bytes"},
		"larger":   {`"` + strings.Repeat("x", 99_999) + `"`, 413, "larger than 100000 bytes"},
		"elements": {"[" + strings.Repeat("1,", 2000) + "1]", 413, "more than 1000 array elements"},
		"depth":    {strings.Repeat("[", 50), 413, "levels of nesting"},
	} {
		for _, length := range []bool{true, false} {
			t.Run(fmt.Sprint(name, length), func(t *testing.T) {
				r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
				if !length {
					r.ContentLength = -1
				}
				w := httptest.NewRecorder()
				echo(b, nil).ServeHTTP(w, r)
				if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
	}
	if b.budget.free != 1<<20 {
		t.Errorf("%d are free", b.budget.free)
	}
}

// TestSlowBodies: bodies that are announced and don't come don't keep others out, over HTTP/1.1 and HTTP/2.
func TestSlowBodies(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			b := NewBodies(limits(), BudgetOptions{Total: 300_000, Share: 150_000, Wait: 10 * time.Second, Waiting: 100, Grace: 50 * time.Millisecond})
			srv := httptest.NewUnstartedServer(nil)
			srv.Config = NewServer(echo(b, nil), nil)
			srv.EnableHTTP2 = true
			srv.StartTLS()
			defer srv.Close()
			client := func() *http.Client {
				return &http.Client{Transport: &http.Transport{
					ForceAttemptHTTP2: protocol == "h2",
					TLSClientConfig:   &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, NextProtos: []string{protocol}},
				}}
			}
			slow := make(chan int, 10)
			begun := make(chan bool, 10)
			for range 3 {
				go func() {
					r, w := io.Pipe()
					defer w.Close()
					req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, r)
					req.ContentLength = 90_000
					go func() {
						_, _ = io.WriteString(w, "[")
						begun <- true
					}()
					resp, err := client().Do(req)
					if err != nil {
						slow <- 0
						return
					}
					defer resp.Body.Close()
					slow <- resp.StatusCode
				}()
			}
			for range 3 { // of one address, as is the real one
				<-begun
			}
			resp, err := client().Post(srv.URL, "application/json", strings.NewReader("["+strings.Repeat(" ", 80_000)+"1]"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
				t.Errorf("%d %s", resp.StatusCode, got)
			}
			if code := <-slow; code != http.StatusTooManyRequests && code != 0 {
				t.Errorf("a slow one got %d", code)
			}
		})
	}
}

// TestServer: HTTP/2 is spoken, large headers are refused, and every phase has an end.
func TestServer(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }), nil)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	for size, want := range map[int]int{1000: 200, 100_000: 431} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Large", strings.Repeat("x", size))
		resp, err := srv.Client().Do(req)
		if err != nil && want != 431 {
			t.Fatal(err)
		}
		if err != nil {
			continue // the client itself keeps to the server's limit
		}
		b, _ := io.ReadAll(bufio.NewReader(resp.Body))
		resp.Body.Close()
		if resp.StatusCode != want || want == 200 && string(b) != "HTTP/2.0" {
			t.Errorf("%d: %d %s", size, resp.StatusCode, b)
		}
	}
	s := NewServer(nil, nil)
	if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout == 0 || s.IdleTimeout == 0 || s.HTTP2.WriteByteTimeout == 0 || s.HTTP2.PingTimeout == 0 {
		t.Error("a phase has no end")
	}
}
