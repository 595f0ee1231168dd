// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// TestMutualTLS sends requests from pod to pod: over HTTP/2 and mutual TLS, with the client's
// identity told to the server; and a server with another identity than the Service's is refused.
func TestMutualTLS(t *testing.T) {
	m := newMesh(t)
	cart := service{name: "cart", vip: "198.19.9.1", protocol: model.HTTP, accounts: []string{"server"}, endpoints: []model.Endpoint{meshed("198.18.9.11", 8080)}}
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Strict: true, Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, nil)
	app := serve(t, server.listen(t, ":8080"), "server")
	from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, cart.all(m))
	c := client(from.netns)

	a := get(t, c, "http://198.19.9.1/hello", func(r *http.Request) {
		r.Header.Set("X-Forwarded-Client-Cert", "URI=spiffe://cluster.local/ns/shop/sa/forged")
	})
	if a.status != 200 || a.echo.Pod != "server" {
		t.Fatalf("status %d from %q: %s", a.status, a.echo.Pod, a.body)
	}
	xfcc := a.echo.Headers["x-forwarded-client-cert"]
	if !strings.Contains(xfcc, "URI=spiffe://cluster.local/ns/shop/sa/client") || strings.Contains(xfcc, "forged") {
		t.Errorf("the server is told %q", xfcc)
	}
	if a.echo.Proto != "HTTP/1.1" || a.headers.Get("Server") != "app/server" {
		t.Errorf("the application is asked by %s and answers as %q", a.echo.Proto, a.headers.Get("Server"))
	}
	if n := from.stat(t, "cluster.out/shop/cart/80.upstream_cx_http2_total"); n != 1 {
		t.Errorf("%d connections over HTTP/2 between the proxies, want 1", n)
	}
	for name := range a.echo.Headers {
		if strings.HasPrefix(name, "x-envoy") {
			t.Errorf("the application gets %s", name)
		}
	}

	// The Service's account changes: the same server is now a stranger. A connection that stands was
	// checked when it was made, so each try begins with a new one.
	anew := func(accounts ...string) answer {
		t.Helper()
		ends := cart.endpoints
		cart.endpoints, cart.accounts = nil, accounts
		from.hold(t, cart.all(m))
		eventually(t, 10*time.Second, func() error {
			if n := from.stat(t, "cluster.out/shop/cart/80.upstream_cx_active"); n != 0 {
				return fmt.Errorf("%d connections without an endpoint", n)
			}
			return nil
		})
		cart.endpoints = ends
		from.hold(t, cart.all(m))
		var a answer
		eventually(t, 10*time.Second, func() error {
			if n := from.stat(t, "cluster.out/shop/cart/80.membership_total"); n != 1 {
				return fmt.Errorf("%d endpoints", n)
			}
			a = get(t, c, "http://198.19.9.1/hello", nil)
			return nil
		})
		return a
	}
	before := app.asked.Load()
	if a := anew("other"); a.status != 503 || app.asked.Load() != before {
		t.Errorf("with a wrong identity: status %d, the application was asked %d times more", a.status, app.asked.Load()-before)
	}
	if from.stat(t, "cluster.out/shop/cart/80.ssl.fail_verify_san") == 0 {
		t.Error("the identity was not what failed")
	}
	if a := anew(); a.status != 503 {
		t.Errorf("without any identity behind the Service: status %d", a.status)
	}
	if a := anew("other", "server"); a.status != 200 {
		t.Errorf("with the identity among others: status %d", a.status)
	}
}
