// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const limit = 8

// slowly starts a server that answers /slow when the test ends, and everything else at once. Its pool is returned.
func slowly(t *testing.T, rates Rates) (addr string, p *Pool) {
	t.Helper()
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	s := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	}), nil)
	s.ReadHeaderTimeout, s.ReadTimeout, s.IdleTimeout = time.Minute, 0, time.Minute
	l := Listen(inner, Connections{Total: limit, PerAddress: limit, Write: Write, Rates: rates})
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { close(release); s.Close() })
	return inner.Addr().String(), l.(*listener).pool
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

func (p *Pool) held() (n int, kept int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.places {
		if c.kept {
			kept++
		}
	}
	return len(p.places), kept
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
			addr, p := slowly(t, RequestRates())
			for range 5 * limit {
				c := from(t, "127.0.0.2", addr)
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
				kubelet := from(t, "127.0.0.3", addr)
				if err := get(t, kubelet, "/"); err != nil {
					t.Fatalf("the kubelet gets no answer: %v", err)
				}
				kubelet.Close()
				if n, _ := p.held(); n > limit {
					t.Fatalf("%d connections are open", n)
				}
			}
		})
	}
}

// TestLongRequestStays: the long request of a client with one connection outlives a flood from others, of
// one address or of as many as there are connections if it is kept.
func TestLongRequestStays(t *testing.T) {
	addr, p := slowly(t, RequestRates())
	long, kept := from(t, "127.0.0.3", addr), from(t, "127.0.0.3", addr)
	fmt.Fprint(long, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	fmt.Fprint(kept, "GET /kept/slow HTTP/1.1\r\nHost: x\r\n\r\n")
	until(t, "the request is kept", func() bool { _, k := p.held(); return k == 1 })
	for range 5 * limit {
		from(t, "127.0.0.2", addr)
	}
	until(t, "the flood is accepted", func() bool { n, _ := p.held(); return n == limit })
	if _, err := readByte(long, 50*time.Millisecond); !timedOut(err) {
		t.Errorf("the long request was closed: %v", err)
	}
	for i := range 5 * limit {
		from(t, fmt.Sprintf("127.0.1.%d", i+1), addr)
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
		addr, _ := slowly(t, Rates{Address: Rate{rate, rate}, Total: RequestRates().Total})
		began, answered, closed := time.Now(), 0, 0
		var c net.Conn
		for closed < 3 && answered < 100*rate {
			if c == nil || !kept {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
				var err error
				if c, err = d.DialContext(t.Context(), "tcp", addr); err != nil {
					closed++
					continue
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
		if err := get(t, from(t, "127.0.0.3", addr), "/"); err != nil {
			t.Errorf("another client: %v", err)
		}
	}
}

// TestAllKept: when all connections are kept, a new one is closed.
func TestAllKept(t *testing.T) {
	addr, p := slowly(t, RequestRates())
	for i := range limit {
		fmt.Fprint(from(t, "127.0.0.3", addr), "GET /kept/slow HTTP/1.1\r\nHost: x\r\n\r\n")
		until(t, "the request is kept", func() bool { _, k := p.held(); return k == i+1 })
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err == nil {
		_, err = readByte(c, 10*time.Second)
		c.Close()
	}
	if err == nil || timedOut(err) {
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

// TestSlowReaders: clients that ask for a large page and read nothing, of one address, of two, or of many, take all
// connections, and more come all the time. A scraper gets its page within a second each time.
func TestSlowReaders(t *testing.T) {
	text := bytes.Repeat([]byte("tulle_metric 1\n"), 128<<10)
	for _, addresses := range []int{1, 2, 200} {
		t.Run(fmt.Sprint(addresses, " addresses"), func(t *testing.T) {
			var waiting atomic.Int64
			addr := serve(t, Connections{Total: 64, PerAddress: 64, Write: Write, Rates: RequestRates()}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				waiting.Add(1)
				defer waiting.Add(-1)
				_, _ = w.Write(text)
			}))
			dial := func(source string) (net.Conn, error) {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
				return d.DialContext(t.Context(), "tcp", addr)
			}
			stop, stopped := make(chan bool), make(chan bool)
			slow := func(i int) {
				c, err := dial(fmt.Sprintf("127.0.1.%d", 1+i%addresses))
				if err != nil {
					return // closed for another one already
				}
				t.Cleanup(func() { _ = c.Close() })
				_ = c.(*net.TCPConn).SetReadBuffer(1)
				_, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
			}
			for i := range 100 {
				slow(i)
			}
			until(t, "all connections are taken", func() bool { return waiting.Load() >= 60 })
			go func() {
				defer close(stopped)
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-time.After(5 * time.Millisecond):
						slow(i)
					}
				}
			}()
			client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
				return dial("127.0.0.9")
			}}}
			for range 5 {
				began := time.Now()
				resp, err := client.Get("http://x/metrics")
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if took := time.Since(began); err != nil || !bytes.Equal(got, text) || took > time.Second {
					t.Errorf("%d bytes of %d after %v: %v", len(got), len(text), took, err)
				}
			}
			close(stop)
			<-stopped
		})
	}
}
