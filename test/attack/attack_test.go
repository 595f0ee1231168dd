// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package attack

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// victim is a server of HTTP/1.1 and HTTP/2 that counts its connections.
func victim(t *testing.T, secure bool) (address string, open *atomic.Int64) {
	t.Helper()
	open = &atomic.Int64{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stream":
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case large:
			_, _ = io.WriteString(w, strings.Repeat("v", 1<<20))
		default:
			_, _ = io.Copy(io.Discard, r.Body)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetHTTP2(secure)
	s.Config.Protocols.SetUnencryptedHTTP2(!secure)
	var known sync.Map
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			known.Store(c, true)
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			if _, there := known.LoadAndDelete(c); there {
				open.Add(-1)
			}
		}
	}
	s.EnableHTTP2 = secure
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), open
}

// TestRun: a run ends in time, every attack in it has opened connections and sent something, and nothing is
// left open.
func TestRun(t *testing.T) {
	const last = 3 * time.Second
	for _, scheme := range []string{"http", "https", "agent", "tcp"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			address, open := victim(t, scheme == "https")
			p, err := At(scheme + "://" + address)
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			done := Run(t.Context(), Options{For: last, Rate: 20000, Connections: 2, Held: 5}, p)
			if took := time.Since(begun); took < last || took > last+10*time.Second {
				t.Errorf("it took %v", took)
			}
			if len(done) != len(p.Attacks) {
				t.Errorf("%d results of %d attacks: two have the same name", len(done), len(p.Attacks))
			}
			for _, a := range p.Attacks {
				d := done[p.Name+": "+a.Name]
				if d.Connections == 0 || a.Flood && d.Sent == 0 {
					t.Errorf("%s: %+v", a.Name, d)
				}
			}
			for deadline := time.Now().Add(10 * time.Second); open.Load() > 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d connections are left open", open.Load())
				}
			}
		})
	}
}

func TestAt(t *testing.T) {
	for _, bad := range []string{"", "http://host", "udp://host:1", "host:80", "http://[::1"} {
		if p, err := At(bad); err == nil {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}

// TestHello: what is cut into halves is a hello of TLS.
func TestHello(t *testing.T) {
	if b := hello(); len(b) < 100 || !slices.Equal(b[:2], []byte{22, 3}) {
		t.Errorf("%x", b)
	}
}

// TestPace: no more is let through than the pace and one burst, by all callers together.
func TestPace(t *testing.T) {
	const perSecond, last = 1000, 200 * time.Millisecond
	p := NewPace(perSecond)
	ctx, cancel := context.WithTimeout(t.Context(), last)
	defer cancel()
	begun := time.Now()
	var through atomic.Int64
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for p.Wait(ctx, 5) == nil {
				through.Add(5)
			}
		})
	}
	all.Wait()
	if most := int64((time.Since(begun)+burst).Seconds()*perSecond) + 5; through.Load() > most || through.Load() == 0 {
		t.Errorf("%d were let through, at most %d may be", through.Load(), most)
	}
	if err := (*Pace)(nil).Wait(ctx, 1); err == nil {
		t.Error("a pace lets through what is over")
	}
}
