// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package connlimit

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const limit = 8

// serve starts a server that answers /slow when the test ends, and everything else at once.
func serve(t *testing.T) (addr string, l *Limiter) {
	t.Helper()
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	l = New(limit)
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/kept") {
			Keep(r)
		}
		if strings.HasSuffix(r.URL.Path, "/slow") {
			select {
			case <-r.Context().Done():
			case <-release:
			}
		}
		fmt.Fprint(w, "ok")
	})}
	go func() { _ = l.Serve(s, inner) }()
	t.Cleanup(func() { close(release); s.Close() })
	return inner.Addr().String(), l
}

// connect opens a connection from a loopback address.
func connect(t *testing.T, source, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func get(t *testing.T, c net.Conn, path string) error {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (l *Limiter) held() (n int, kept int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		if c.kept {
			kept++
		}
	}
	return len(l.open), kept
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !is() {
		if ctx.Err() != nil {
			t.Fatalf("timed out waiting: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestFlood: strangers hold connections of every sort. Another client's request is answered each time, and
// no more connections are open than allowed.
func TestFlood(t *testing.T) {
	for _, sort := range []string{"silent", "half a request", "slow request", "idle"} {
		t.Run(sort, func(t *testing.T) {
			addr, l := serve(t)
			for range 5 * limit {
				c := connect(t, "127.0.0.2", addr)
				switch sort {
				case "half a request":
					fmt.Fprint(c, "GET / HT")
				case "slow request":
					fmt.Fprint(c, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
				case "idle":
					if err := get(t, c, "/"); err != nil {
						t.Errorf("a stranger's own request, which is alone: %v", err)
					}
				}
				kubelet := connect(t, "127.0.0.3", addr)
				if err := get(t, kubelet, "/"); err != nil {
					t.Fatalf("the kubelet gets no answer: %v", err)
				}
				kubelet.Close()
				if n, _ := l.held(); n > limit {
					t.Fatalf("%d connections are open", n)
				}
			}
		})
	}
}

// TestLongRequestStays: the long request of a client with one connection outlives a flood from others, of
// one address or of as many as there are connections if it is kept.
func TestLongRequestStays(t *testing.T) {
	addr, l := serve(t)
	long, kept := connect(t, "127.0.0.3", addr), connect(t, "127.0.0.3", addr)
	fmt.Fprint(long, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	fmt.Fprint(kept, "GET /kept/slow HTTP/1.1\r\nHost: x\r\n\r\n")
	until(t, "the request is kept", func() bool { _, k := l.held(); return k == 1 })
	for range 5 * limit {
		connect(t, "127.0.0.2", addr)
	}
	until(t, "the flood is accepted", func() bool { n, _ := l.held(); return n == limit })
	if _, err := readByte(long, 50*time.Millisecond); !timedOut(err) {
		t.Errorf("the long request was closed: %v", err)
	}
	for i := range 5 * limit {
		connect(t, fmt.Sprintf("127.0.1.%d", i+1), addr)
	}
	if _, err := readByte(kept, 50*time.Millisecond); !timedOut(err) {
		t.Errorf("the request that is kept was closed: %v", err)
	}
}

// TestTooManyRequests: a client that asks without a pause, over one connection or many, gets the rate of
// one client. Another one is answered meanwhile.
func TestTooManyRequests(t *testing.T) {
	for _, kept := range []bool{false, true} {
		const rate = 20
		addr, l := serve(t)
		l.mu.Lock()
		l.rates.perSource = rate
		l.mu.Unlock()
		began, answered, closed := time.Now(), 0, 0
		var c net.Conn
		for closed < 3 && answered < 100*rate {
			if c == nil || !kept {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
				var err error
				if c, err = d.DialContext(t.Context(), "tcp", addr); err != nil {
					t.Fatal(err)
				}
			}
			if err := get(t, c, "/"); err != nil {
				closed++
				c.Close()
				c = nil
				continue
			}
			answered++
			if !kept {
				c.Close()
			}
		}
		if most := rate * (2 + time.Since(began).Seconds()); closed == 0 || float64(answered) > most || answered < rate/2 {
			t.Errorf("connection kept: %v: %d requests are answered in %v", kept, answered, time.Since(began))
		}
		if err := get(t, connect(t, "127.0.0.3", addr), "/"); err != nil {
			t.Errorf("another client: %v", err)
		}
	}
}

// TestAllKept: when all connections are kept, a new one is closed.
func TestAllKept(t *testing.T) {
	addr, l := serve(t)
	for i := range limit {
		fmt.Fprint(connect(t, "127.0.0.3", addr), "GET /kept/slow HTTP/1.1\r\nHost: x\r\n\r\n")
		until(t, "the request is kept", func() bool { _, k := l.held(); return k == i+1 })
	}
	if _, err := readByte(connect(t, "127.0.0.2", addr), 10*time.Second); err == nil || timedOut(err) {
		t.Errorf("a connection above the limit stays: %v", err)
	}
}

func readByte(c net.Conn, within time.Duration) (byte, error) {
	var b [1]byte
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := c.Read(b[:])
	return b[0], err
}

func timedOut(err error) bool {
	e, ok := err.(net.Error) //nolint:errorlint // as the connection returns it
	return ok && e.Timeout()
}
