// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tulle.dev/tulle/internal/controlplane/model"
)

// besieged is a Gateway and a pod in Permissive mode with little memory, that clients who may be anybody reach.
type besieged struct {
	doors map[string]door
	proxy map[string]*proxy
}

// siegeHeap is a quarter of what a Gateway has unless the Mesh says otherwise.
const siegeHeap = 256 << 20

func newBesieged(t *testing.T) besieged {
	t.Helper()
	m := newMesh(t)
	m.ads.heap = siegeHeap
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, nil)
	generous(t, server.listen(t, ":8080"))
	bare := m.wire.plug(t, "198.18.9.20", false)
	generous(t, bare.listen(t, ":8080"))
	web := service{name: "web", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.20", 8080)}}
	gateway := m.edge(t, "198.18.9.3", []string{"*"}, []model.Rule{{Backends: []model.WeightedBackend{web.to(1)}}}, web.backend(m))
	outside := m.wire.plug(t, "198.18.9.30", false)
	return besieged{
		map[string]door{"a Gateway": {"edge", outside, "198.18.9.3:80"}, "a sidecar in Permissive mode": {"in", outside, "198.18.9.11:8080"}},
		map[string]*proxy{"a Gateway": gateway, "a sidecar in Permissive mode": server.proxy},
	}
}

// generous is a server of HTTP/1.1 and HTTP/2: /bytes/N answers with N bytes, /hang when its client has gone,
// everything else once the body is read.
func generous(t *testing.T, l net.Listener) {
	t.Helper()
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: &both, ReadHeaderTimeout: time.Minute, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 20000}}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, ok := strings.CutPrefix(r.URL.Path, "/bytes/"); ok {
			size, _ := strconv.Atoi(n)
			_, _ = io.Copy(w, io.LimitReader(zeroes{}, int64(size)))
			return
		}
		if r.URL.Path == "/hang" {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	})
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// connections of an attacker, each with that many requests at a time, more than it may have.
const (
	attackers = 12
	burst     = 1100
)

// attacks are what a client may do; each goes on until ctx is done.
func attacks() map[string]func(ctx context.Context, t *testing.T, d door) {
	each := func(settings []http2.Setting, act func(ctx context.Context, f *framed) error) func(context.Context, *testing.T, door) {
		return func(ctx context.Context, t *testing.T, d door) {
			var wg sync.WaitGroup
			for range attackers {
				wg.Go(func() {
					for ctx.Err() == nil {
						f, err := d.tryFramed(ctx, settings...)
						if err != nil {
							time.Sleep(10 * time.Millisecond)
							continue
						}
						stop := context.AfterFunc(ctx, func() { f.c.Close() })
						if act(ctx, f) == nil {
							<-f.done
						}
						f.c.Close()
						stop()
					}
				})
			}
			wg.Wait()
		}
	}
	asks := func(method, path string, body int) func(context.Context, *framed) error {
		return func(ctx context.Context, f *framed) error {
			for n := 0; n < burst && ctx.Err() == nil; n++ {
				id, err := f.ask(n, method, path)
				if err != nil {
					return err
				}
				for sent := 0; sent < body; sent += 16 << 10 {
					if err := f.WriteData(id, false, make([]byte, 16<<10)); err != nil {
						return err
					}
				}
			}
			return nil
		}
	}
	flood := func(frame func(f *framed, n int) error) func(context.Context, *framed) error {
		return func(ctx context.Context, f *framed) error {
			for n := 0; ctx.Err() == nil; n++ {
				_ = f.c.SetWriteDeadline(time.Now().Add(5 * time.Second))
				if err := frame(f, n); err != nil {
					return err
				}
			}
			return nil
		}
	}
	noWindow := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}
	return map[string]func(context.Context, *testing.T, door){
		"windows of zero":             each(noWindow, asks("GET", "/bytes/1048576", 0)),
		"windows of zero, short":      each(noWindow, asks("GET", "/bytes/60000", 0)),
		"bodies that do not end":      each(nil, asks("POST", "/", 48<<10)),
		"answers that do not end":     each(nil, asks("GET", "/hang", 0)),
		"uploads that nobody answers": each(nil, asks("POST", "/hang", 48<<10)),
		"resets": each(nil, flood(func(f *framed, n int) error {
			id, err := f.ask(n, "GET", "/hang")
			if err != nil {
				return err
			}
			return f.WriteRSTStream(id, http2.ErrCodeCancel)
		})),
		"headers that do not end": each(nil, flood(func(f *framed, n int) error {
			if n == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.head("GET", "/")})
			}
			f.block.Reset()
			_ = f.enc.WriteField(hpackField(fmt.Sprintf("x-%d", n), strings.Repeat("v", 8000)))
			return f.WriteContinuation(1, false, f.block.Bytes())
		})),
		"one header many times": each(nil, flood(func(f *framed, n int) error {
			more := []string{"x-big: " + strings.Repeat("v", 3900)}
			for range 2000 {
				more = append(more, more[0])
			}
			_, err := f.ask(n, "GET", "/", more...)
			return err
		})),
		"settings": each(nil, flood(func(f *framed, _ int) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		})),
		"pings": each(nil, flood(func(f *framed, _ int) error { return f.WritePing(false, [8]byte{}) })),
		"empty frames": each(nil, flood(func(f *framed, n int) error {
			if n == 0 {
				_, err := f.ask(0, "POST", "/")
				return err
			}
			return f.WriteData(1, false, nil)
		})),
		"priorities":     each(nil, flood(func(f *framed, n int) error { return f.WritePriority(uint32(2*n+1), http2.PriorityParam{Weight: 1}) })),
		"window updates": each(nil, flood(func(f *framed, _ int) error { return f.WriteWindowUpdate(0, 1) })),
		"connections":    manyConnections,
	}
}

// manyConnections holds thousands of connections: that say nothing, half a request, or a request whose answer nobody reads.
func manyConnections(ctx context.Context, _ *testing.T, d door) {
	var all []net.Conn
	for n := 0; n < 3000 && ctx.Err() == nil; n++ {
		c, err := d.ns.dial(ctx, "tcp4", d.addr)
		if err != nil {
			continue
		}
		all = append(all, c)
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		switch n % 3 {
		case 1:
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nX-Long: "+strings.Repeat("v", 30000))
		case 2:
			_, _ = io.WriteString(c, "GET /bytes/1048576 HTTP/1.1\r\nHost: h\r\n\r\n")
		}
	}
	<-ctx.Done()
	for _, c := range all {
		c.Close()
	}
}

// TestAttacks: whatever one client does, a proxy's memory has its bound, and other clients are served.
func TestAttacks(t *testing.T) {
	b := newBesieged(t)
	for at, d := range b.doors {
		p := b.proxy[at]
		for name, attack := range attacks() {
			t.Run(at+"/"+name, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					attack(ctx, t, d)
				}()
				var good, bad atomic.Int64
				highest := 0
				other := client(d.ns)
				other.Timeout = 5 * time.Second
				for begun := time.Now(); time.Since(begun) < 1500*time.Millisecond; time.Sleep(20 * time.Millisecond) {
					if a, err := ask(ctx, other, http.MethodGet, "http://"+d.addr+"/", nil); err == nil && a.status == http.StatusOK {
						good.Add(1)
					} else {
						bad.Add(1)
						t.Logf("after %v: %d, %v", time.Since(begun), a.status, err)
					}
					highest = max(highest, p.allocated(t))
				}
				cancel()
				<-ended
				t.Logf("%d requests of another client were answered, %d not; the heap grew to %d MiB", good.Load(), bad.Load(), highest>>20)
				if good.Load() == 0 || bad.Load() > 0 {
					t.Errorf("%d requests of another client were answered, %d not", good.Load(), bad.Load())
				}
				if highest > siegeHeap {
					t.Errorf("the heap grew to %d MiB", highest>>20)
				}
			})
		}
	}
}
