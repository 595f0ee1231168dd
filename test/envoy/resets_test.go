// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// TestMostEndedApplications: of three pods two have ended applications, and the third has much to do, so
// that Envoy would rather ask the others. Whoever has met both of them comes to the third all the same.
func TestMostEndedApplications(t *testing.T) {
	m, from, a, b, s := two(t, model.HTTP)
	in := model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}
	busy := m.sidecar(t, "c", "198.18.9.13", in, nil)
	s.accounts, s.endpoints = append(s.accounts, "c"), append(s.endpoints, meshed(busy.ip, 8080))
	from.hold(t, s.all(m))
	app := serve(t, busy.listen(t, ":8080"), "c")
	c := client(from.netns)
	held, release := context.WithCancel(t.Context())
	patient := client(from.netns)
	patient.Timeout = 0
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { _, _ = ask(held, patient, http.MethodGet, "http://198.19.9.1/slow?sleep=5m", nil) })
	}
	eventually(t, 10*time.Second, func() error {
		if n := app.asked.Load(); n < 20 {
			return fmt.Errorf("%d requests wait at the busy pod", n)
		}
		return nil
	})
	const requests = 4000
	var failed atomic.Int64
	var workers sync.WaitGroup
	for range 40 {
		workers.Go(func() {
			for range requests / 40 {
				if got, err := ask(t.Context(), c, http.MethodPost, "http://198.19.9.1/", nil); err != nil || got.status != 200 {
					failed.Add(1)
				}
			}
		})
	}
	workers.Wait()
	release()
	all.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed", n, requests)
	}
	// The seeded fault: many did meet both.
	if x, y := a.stat(t, "cluster.std/in-http1.upstream_cx_connect_fail"), b.stat(t, "cluster.std/in-http1.upstream_cx_connect_fail"); x+y < requests {
		t.Errorf("%d and %d refusals, of %d requests", x, y, requests)
	}
}

// TestManyResets: a client gives up on thousands of answers that have begun, all on one connection. What
// else is under way on that connection goes on.
func TestManyResets(t *testing.T) {
	_, from, _, b, _ := two(t, model.HTTP)
	begun := make(chan struct{})
	go func() {
		_ = http.Serve(b.listen(t, ":8080"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			if r.URL.Path == "/held" {
				close(begun)
			}
			<-r.Context().Done()
		}))
	}()
	c := client(from.netns, "h2")
	c.Timeout = 0
	get := func(ctx context.Context, path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://198.19.9.1"+path, nil)
		if err != nil {
			return nil, err
		}
		return c.Do(req)
	}
	held, err := get(t.Context(), "/held")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Body.Close()
	<-begun
	ended := make(chan error, 1)
	go func() {
		n, err := held.Body.Read(make([]byte, 1))
		ended <- fmt.Errorf("%d bytes, %w", n, err)
	}()
	const resets = 3000
	var workers sync.WaitGroup
	for range 20 {
		workers.Go(func() {
			for range resets / 20 {
				ctx, giveUp := context.WithCancel(t.Context())
				res, err := get(ctx, "/")
				giveUp()
				if err != nil || res.StatusCode != http.StatusOK {
					t.Errorf("%+v, %v", res, err)
					return
				}
				res.Body.Close()
			}
		})
	}
	workers.Wait()
	// The seeded fault: they were resets, on few connections.
	eventually(t, 10*time.Second, func() error {
		if n := b.stat(t, "http.std/in-http1.downstream_rq_rx_reset"); n < resets*9/10 {
			return fmt.Errorf("the server's proxy has seen %d resets", n)
		}
		return nil
	})
	if n := b.stat(t, "http.std/in-http1.downstream_cx_total"); n > 2 {
		t.Errorf("%d connections to the server's proxy", n)
	}
	select {
	case err := <-ended:
		t.Errorf("the answer that was under way ended: %v", err)
	default:
	}
}
