// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/test/attack"
)

// waits serves HTTP/1.1 and HTTP/2: /held answers in part and no further, and any other request gets no answer while its
// client waits. It counts these.
func waits(t *testing.T, l net.Listener) *atomic.Int64 {
	t.Helper()
	var begun atomic.Int64
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: &both, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			_, _ = io.WriteString(w, "so far")
			_ = http.NewResponseController(w).Flush()
		} else {
			begun.Add(1)
		}
		<-r.Context().Done()
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return &begun
}

// giveUp begins n requests on a connection, and resets each before its answer begins. At most 50 are under way. It returns
// how many were reset before the connection ended.
func giveUp(f *attack.Framed, from, n int) int {
	for i := range n {
		id, err := f.Ask(from+i, "GET", "/never")
		if err == nil {
			err = f.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		if err != nil || f.Over() {
			return i
		}
		if i%50 == 49 {
			if err := f.RoundTrip(); err != nil {
				return i
			}
		}
	}
	return n
}

// hold begins n requests whose answers begin and do not end.
func hold(t *testing.T, f *attack.Framed, n int) {
	t.Helper()
	for i := range n {
		if _, err := f.Ask(i, "GET", "/held"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 10*time.Second, func() error {
		if status, _, _ := f.Seen(); len(status) < n {
			return fmt.Errorf("%d of %d streams have begun", len(status), n)
		}
		return nil
	})
}

// TestGivenUpEarly: clients of the mesh that give up at once, hundreds of times on one connection, end no stream of others on
// it, neither beside them nor between the proxies. Resets of clients that may be anybody are limited.
func TestGivenUpEarly(t *testing.T) {
	for name, bin := range map[string]string{"current": binary(t), "before": before(t)} {
		t.Run(name, func(t *testing.T) {
			m := newMeshOf(t, bin)
			server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, nil)
			begun := waits(t, server.listen(t, ":8080"))
			web := service{name: "web", vip: "198.19.9.1", protocol: model.HTTP, accounts: []string{"server"}, endpoints: []model.Endpoint{meshed(server.ip, 8080)}}
			from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, web.all(m))
			edge := m.edge(t, "198.18.9.3", []string{"*"}, []model.Rule{{Backends: []model.WeightedBackend{web.to(1)}}}, web.backend(m))
			outside := m.wire.plug(t, "198.18.9.30", false)

			const held, resets = 5, 3000
			f := door{"mesh", from.netns, "198.19.9.1:80"}.framed(t)
			hold(t, f, held)
			if n := giveUp(f, held, resets); n < resets {
				t.Errorf("the connection ended after %d requests that were given up", n)
			}
			eventually(t, 10*time.Second, func() error {
				if n := server.stat(t, `^http\.std/in-http1\.downstream_rq_rx_reset`); n < 1000 {
					return fmt.Errorf("the server's proxy has seen %d resets", n)
				}
				return nil
			})
			if err := f.RoundTrip(); err != nil {
				t.Error(err)
			}
			if _, reset, _ := f.Seen(); len(reset) > 0 {
				t.Errorf("streams of others ended: %v", reset)
			}
			if n := server.stat(t, `^http\.std/in-http1\.downstream_cx_total`); n != 1 {
				t.Errorf("%d connections between the proxies, want 1", n)
			}
			if begun.Load() == 0 {
				t.Error("no request reached the application")
			}

			stranger := door{"in", outside, server.ip + ":8080"}.framed(t)
			if n := giveUp(stranger, 0, 10*resets); n < 900 || n > 3*resets {
				t.Errorf("the connection of a client without mutual TLS to a sidecar ended after %d resets", n)
			}
			public := door{"edge", outside, "198.18.9.3:80"}.framed(t)
			if n := giveUp(public, 0, resets); n < 200 || n > 600 {
				t.Errorf("the connection of a Gateway's client ended after %d resets", n)
			}
			if n := edge.stat(t, `^http\.gw/shop/public/80\.downstream_rq_too_many_premature_resets`); n != 1 {
				t.Errorf("the Gateway has counted %d connections with too many resets", n)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if c, err := outside.dial(ctx, "tcp4", server.ip+":8080"); err != nil {
				t.Error(err)
			} else {
				c.Close()
			}
		})
	}
}

// TestManyGoneAtOnce: a client that ends with thousands of requests under way ends no stream of others on the
// connection between the proxies.
func TestManyGoneAtOnce(t *testing.T) {
	for name, bin := range map[string]string{"current": binary(t), "before": before(t)} {
		t.Run(name, func(t *testing.T) {
			m := newMeshOf(t, bin)
			server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, nil)
			begun := waits(t, server.listen(t, ":8080"))
			web := service{name: "web", vip: "198.19.9.1", protocol: model.HTTP, accounts: []string{"server"}, endpoints: []model.Endpoint{meshed(server.ip, 8080)}}
			from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, web.all(m))
			to := door{"mesh", from.netns, "198.19.9.1:80"}

			const held, many = 5, 5000
			stays := to.framed(t)
			hold(t, stays, held)
			goes := to.framed(t)
			for n := range many {
				if _, err := goes.Ask(n, "GET", "/never"); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, 20*time.Second, func() error {
				if n := begun.Load(); n < many {
					return fmt.Errorf("%d of %d requests have begun", n, many)
				}
				return nil
			})
			goes.Close()
			eventually(t, 10*time.Second, func() error {
				if n := server.stat(t, `^http\.std/in-http1\.downstream_rq_active`); n != held {
					return fmt.Errorf("%d requests are under way, want %d", n, held)
				}
				return nil
			})
			if err := stays.RoundTrip(); err != nil {
				t.Error(err)
			}
			if _, reset, _ := stays.Seen(); len(reset) > 0 {
				t.Errorf("streams of others ended: %v", reset)
			}
		})
	}
}
