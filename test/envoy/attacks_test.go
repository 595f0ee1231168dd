// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/test/attack"
)

// besieged is a Gateway and a pod in Permissive mode with little memory, that clients who may be anybody reach.
type besieged struct {
	doors map[string]door
	proxy map[string]*proxy
}

// attackers is how many connections an attack has that sends much on each, and held of one that sends little.
const (
	attackers = 12
	held      = 3000
	// siegePace is what all but those attacks may send that fill memory with requests: 5,000 requests or
	// 100,000 small frames a second. More would measure the machine, which attackers and victims share.
	siegePace = 100_000
)

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

// generous is a server of HTTP/1.1 and HTTP/2: /bytes/N answers with N bytes, /hang and /stream begin an answer
// and end it when their client has gone, everything else answers once the body is read.
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
		if r.URL.Path == "/hang" || r.URL.Path == "/stream" {
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

// TestAttacks: whatever one client does, a proxy's memory has its bound, and other clients are served.
func TestAttacks(t *testing.T) {
	b := newBesieged(t)
	for at, d := range b.doors {
		p := b.proxy[at]
		to := attack.Target{
			Dial:        func(ctx context.Context) (net.Conn, error) { return d.ns.dial(ctx, "tcp4", d.addr) },
			Connections: attackers, Held: held,
		}
		http2 := attack.HTTP2()
		for i, a := range slices.Concat(http2, attack.HTTP1(), attack.TCP()) {
			to.Pace = nil
			if a.Flood || i >= len(http2) {
				to.Pace = attack.NewPace(siegePace)
			}
			t.Run(at+"/"+a.Name, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					a.Do(ctx, to)
				}()
				var good, bad atomic.Int64
				highest := 0
				other := client(d.ns)
				other.Timeout = 5 * time.Second
				for begun := time.Now(); time.Since(begun) < 1500*time.Millisecond; time.Sleep(20 * time.Millisecond) {
					if answer, err := ask(ctx, other, http.MethodGet, "http://"+d.addr+"/", nil); err == nil && answer.status == http.StatusOK {
						good.Add(1)
					} else {
						bad.Add(1)
						t.Logf("after %v: %d, %v", time.Since(begun), answer.status, err)
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
