// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	gstatus "google.golang.org/grpc/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/names"
)

const echo = "/echo.Echo/Call"

// split makes a route from a Service to others, by weight; kind is HTTPRoute or GRPCRoute.
func (p *plane) split(kind, namespace, name, of, service string, weights map[string]int32) source.Event {
	p.rev++
	serviceKind, group, ns, port := gwapiv1.Kind("Service"), gwapiv1.Group(""), gwapiv1.Namespace(of), gwapiv1.PortNumber(80)
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name), Generation: p.rev}
	common := gwapiv1.CommonRouteSpec{ParentRefs: []gwapiv1.ParentReference{{Group: &group, Kind: &serviceKind, Namespace: &ns, Name: gwapiv1.ObjectName(service)}}}
	var refs []gwapiv1.BackendRef
	for backend, w := range weights {
		refs = append(refs, gwapiv1.BackendRef{Weight: &w, BackendObjectReference: gwapiv1.BackendObjectReference{Name: gwapiv1.ObjectName(backend), Namespace: &ns, Port: &port}})
	}
	if kind == "HTTPRoute" {
		r := &gwapiv1.HTTPRoute{ObjectMeta: meta, Spec: gwapiv1.HTTPRouteSpec{CommonRouteSpec: common, Rules: []gwapiv1.HTTPRouteRule{{}}}}
		for _, b := range refs {
			r.Spec.Rules[0].BackendRefs = append(r.Spec.Rules[0].BackendRefs, gwapiv1.HTTPBackendRef{BackendRef: b})
		}
		return event("HTTPRoute", namespace, name, r)
	}
	svc := "echo.Echo"
	r := &gwapiv1.GRPCRoute{ObjectMeta: meta, Spec: gwapiv1.GRPCRouteSpec{CommonRouteSpec: common, Rules: []gwapiv1.GRPCRouteRule{{
		Matches: []gwapiv1.GRPCRouteMatch{{Method: &gwapiv1.GRPCMethodMatch{Service: &svc}}},
	}}}}
	for _, b := range refs {
		r.Spec.Rules[0].BackendRefs = append(r.Spec.Rules[0].BackendRefs, gwapiv1.GRPCBackendRef{BackendRef: b})
	}
	return event("GRPCRoute", namespace, name, r)
}

// steady calls without pause until stop, which returns how many calls were made and the failures.
func steady(conn *grpc.ClientConn) (stop func() (int64, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var n atomic.Int64
	done := make(chan error, 1)
	go func() {
		var failures []error
		for ctx.Err() == nil && len(failures) < 5 {
			if _, err := call(context.WithoutCancel(ctx), conn, echo); err != nil {
				failures = append(failures, err)
			}
			n.Add(1)
		}
		done <- errors.Join(failures...)
	}()
	return func() (int64, error) {
		cancel()
		err := <-done
		return n.Load(), err
	}
}

// answered calls until 20 calls in a row were answered by the right servers. gRPC's client may fail a call
// when routes name a cluster that none has named before: it chooses by the new routes a moment before it
// knows where the cluster is. Everything else is a failure.
func answered(t *testing.T, conn *grpc.ClientConn, what string, right func(by string) bool) {
	t.Helper()
	row := 0
	eventually(t, what, func() error {
		for ; row < 20; row++ {
			r, err := call(t.Context(), conn, echo)
			if err != nil && !strings.Contains(err.Error(), "unknown cluster selected for RPC") {
				t.Fatal(err)
			}
			if err != nil || !right(r.Service) {
				row = 0
				return fmt.Errorf("%q answered: %v", r.Service, err) //nolint:errorlint // nil, mostly
			}
		}
		return nil
	})
}

// TestProxyless: gRPC's own xDS client resolves a Service through this control plane and goes by its
// routes, with the identity of its pod; changes take effect without a failed call.
func TestProxyless(t *testing.T) {
	p := newPlane(t)
	v0, v1, v2 := p.backend("shop", "v0", "web"), p.backend("shop", "v1", "web"), p.backend("shop", "v2", "web")
	p.send(p.service("shop", "web", map[string]backend{"v0": v0})...)
	p.send(p.service("shop", "web-1", map[string]backend{"v1": v1})...)
	p.send(p.service("shop", "web-2", map[string]backend{"v2": v2})...)
	if made := p.made(); len(made) > 0 {
		t.Errorf("made before anybody asks: %v", made)
	}
	conn := p.dial(p.program("bank", "batch-0"), "web.shop:80", false)

	r, err := call(t.Context(), conn, echo)
	p.must(err)
	if r.Service != "v0" || r.Caller != "spiffe://cluster.local/ns/bank/sa/batch" {
		t.Errorf("%s was called by %q", r.Service, r.Caller)
	}

	for _, kind := range []string{"HTTPRoute", "GRPCRoute"} {
		p.send(p.split(kind, "shop", "r", "shop", "web", map[string]int32{"web-1": 9, "web-2": 1}))
		answered(t, conn, "the "+kind+" is in effect", func(by string) bool { return by != "v0" })
		near(t, shares(t, conn, echo, 1000), "v1", 90)

		stop := steady(conn)
		p.send(p.split(kind, "shop", "r", "shop", "web", map[string]int32{"web-1": 1, "web-2": 1_000_000}))
		answered(t, conn, "all but nothing goes to v2", func(by string) bool { return by == "v2" })
		near(t, shares(t, conn, echo, 500), "v2", 99)
		if n, err := stop(); err != nil || n < 100 {
			t.Errorf("%s: of %d calls while its weights changed some failed: %v", kind, n, err)
		}
		if kind == "GRPCRoute" {
			if _, err := call(t.Context(), conn, "/echo.Other/Call"); gstatus.Code(err) != codes.Unavailable {
				t.Errorf("a call that no rule matches: %v", err)
			}
		}
		gone := p.split(kind, "shop", "r", "shop", "web", nil)
		gone.Object = nil
		p.send(gone)
		answered(t, conn, "the "+kind+" is gone", func(by string) bool { return by == "v0" })
	}

	// The pod behind it is replaced by another one.
	p.send(p.split("HTTPRoute", "shop", "r", "shop", "web", map[string]int32{"web-1": 1}))
	answered(t, conn, "all goes to v1", func(by string) bool { return by == "v1" })
	stop := steady(conn)
	v3 := p.backend("shop", "v3", "web")
	p.send(append(p.service("shop", "web-1", map[string]backend{"v3": v3}), event(source.EndpointSlice, "shop", "web-1-v1", nil))...)
	answered(t, conn, "all goes to v3", func(by string) bool { return by == "v3" })
	v1.GracefulStop()
	near(t, shares(t, conn, echo, 50), "v3", 100)
	if n, err := stop(); err != nil || n < 50 {
		t.Errorf("of %d calls while endpoints changed some failed: %v", n, err)
	}

	// It is shown, and is no proxy.
	w := httptest.NewRecorder()
	(&replica{feed: p.feed, server: p.server}).proxies(w, nil)
	var shown ProxiesReport
	p.must(json.Unmarshal(w.Body.Bytes(), &shown))
	if len(shown.Clients) != 1 || shown.Clients[0].Pod != "batch-0" || shown.Clients[0].Rejected != 0 || shown.Connected != 0 || len(shown.Proxies) != 0 {
		t.Errorf("shown as %+v", shown)
	}

	// What was made for it goes with it.
	if len(p.made()) == 0 {
		t.Error("nothing was made for the client")
	}
	p.must(conn.Close())
	eventually(t, "nothing is kept for nobody", func() error {
		if made := p.made(); len(made) > 0 {
			return fmt.Errorf("%v", made)
		}
		return nil
	})
}

// made is what there is for clients without a proxy.
func (p *plane) made() (list []string) {
	for _, kind := range resourceTypes() {
		for _, r := range p.feed.store.List(kind.URL) {
			if names.IsClient(r.Name) {
				list = append(list, r.Key.String())
			}
		}
	}
	return list
}

// TestProxylessReconnects: a client that comes back to a control plane which has forgotten what it asked for,
// or finds none, goes on as before, and learns what has changed meanwhile.
func TestProxylessReconnects(t *testing.T) {
	p := newPlane(t)
	v0, v1 := p.backend("shop", "v0", "web"), p.backend("shop", "v1", "web")
	p.send(p.service("shop", "web", map[string]backend{"v0": v0})...)
	p.send(p.service("shop", "web-1", map[string]backend{"v1": v1})...)
	conn := p.dial(p.program("shop", "batch-0"), "web.shop:80", false)
	answered(t, conn, "the client has resolved the Service", func(by string) bool { return by == "v0" })
	stop := steady(conn)
	for range 2 {
		was := p.server.Streams()[0].ID
		p.send(event(source.Pod, "shop", "batch-0", nil)) // it is turned away for a while
		p.server.Rebalance(time.Millisecond)
		eventually(t, "it is forgotten", func() error {
			if made := p.made(); len(made) > 0 {
				return fmt.Errorf("%v", made)
			}
			return nil
		})
		p.send(p.pod("shop", "batch-0", "batch", names.KindClient))
		eventually(t, "it is back", func() error {
			if s := p.server.Streams(); len(s) != 1 || s[0].ID == was || s[0].Pending > 0 || len(p.made()) == 0 {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
	}
	p.send(p.service("shop", "web", map[string]backend{"v1": v1})...)
	p.send(event(source.EndpointSlice, "shop", "web-v0", nil))
	answered(t, conn, "it hears of changes", func(by string) bool { return by == "v1" })
	p.server.Stop()
	for range 20 {
		if _, err := call(t.Context(), conn, echo); err != nil {
			t.Error(err)
		}
	}
	if n, err := stop(); err != nil || n < 50 {
		t.Errorf("of %d calls some failed: %v", n, err)
	}
}

// TestProxylessConsumer: clients go by the routes of their own namespace, if it has any (GEP-1294), and
// by all names of a Service alike.
func TestProxylessConsumer(t *testing.T) {
	p := newPlane(t)
	v1, v2 := p.backend("shop", "v1", "web"), p.backend("shop", "v2", "web")
	p.send(p.service("shop", "web", map[string]backend{"v1": v1, "v2": v2})...)
	p.send(p.service("shop", "web-1", map[string]backend{"v1": v1})...)
	p.send(p.service("shop", "web-2", map[string]backend{"v2": v2})...)
	p.send(event(source.Namespace, "", "bank", nil),
		p.split("HTTPRoute", "shop", "r", "shop", "web", map[string]int32{"web-1": 1}),
		p.split("GRPCRoute", "bank", "own", "shop", "web", map[string]int32{"web-2": 1}))
	for namespace, want := range map[string]string{"shop": "v1", "bank": "v2"} {
		b := p.program(namespace, "batch-"+namespace)
		for _, host := range []string{"web.shop:80", "web.shop.svc:80", "web.shop.svc.cluster.local:80"} {
			if got := shares(t, p.dial(b, host, false), echo, 10); got[want] != 10 {
				t.Errorf("%s from %s: %v, want all from %s", host, namespace, got, want)
			}
		}
	}
}

// TestProxylessServerName: with the environment variable of the guide, which gRPC reads when a process
// starts, a program calls servers by the name by which their proxies know the mesh's connections.
func TestProxylessServerName(t *testing.T) {
	const variable = "GRPC_EXPERIMENTAL_XDS_SNI"
	if os.Getenv(variable) == "" {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxylessServerName$", "-test.count=1")
		again.Env = append(os.Environ(), variable+"=true")
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	p := newPlane(t)
	p.send(p.service("shop", "web", map[string]backend{"v1": p.backend("shop", "v1", "web")})...)
	r, err := call(t.Context(), p.dial(p.program("shop", "batch-0"), "web.shop:80", false), echo)
	if want := names.SNIOf("shop", "web", 80); err != nil || r.Protocol != want {
		t.Errorf("called by the name %q, want %q, %v", r.Protocol, want, err)
	}
}

// TestProxylessPlaintext: a program without xDS credentials calls in plaintext what has no proxy; and
// with them, too, because there is nobody to speak TLS with.
func TestProxylessPlaintext(t *testing.T) {
	p := newPlane(t)
	p.send(p.pod("shop", "bare", "web", ""))
	p.send(p.service("shop", "web", map[string]backend{"bare": p.listen("bare")})...)
	b := p.program("shop", "batch-0")
	for _, plaintext := range []bool{true, false} {
		r, err := call(t.Context(), p.dial(b, "web.shop:80", plaintext), echo)
		if err != nil || r.Service != "bare" || r.Caller != "" {
			t.Errorf("plaintext %t: %+v, %v", plaintext, r, err)
		}
	}
}

// TestProxylessRefused: what is not there, who is not who it should be, and who may not ask.
func TestProxylessRefused(t *testing.T) {
	p := newPlane(t)
	v1 := p.backend("shop", "v1", "web")
	p.send(p.service("shop", "web", map[string]backend{"v1": v1})...)
	impostor := p.backend("shop", "impostor", "other")
	p.send(p.service("shop", "taken", map[string]backend{"v1": impostor})...) // the slice says v1, whose account is web
	b := p.program("shop", "batch-0")
	stranger := p.program("shop", "stranger")
	p.send(event(source.Pod, "shop", "stranger", nil))
	bare := strings.ReplaceAll(strings.ReplaceAll(string(b), `"certificate_file"`, `"x"`), `"private_key_file"`, `"y"`)
	bare = bare[:strings.Index(bare, `"certificate_providers"`)] + `"certificate_providers": {}}`
	for what, c := range map[string]struct {
		bootstrap    []byte
		target, says string
	}{
		"no such Service":       {b, "nothing.shop:80", `nothing.shop:80`},
		"no such port":          {b, "web.shop:81", `web.shop:81`},
		"not the Service's pod": {b, "taken.shop:80", "do not match any of the accepted SANs"},
		"no certificate":        {[]byte(bare), "web.shop:80", "certificate required"},
		"no live pod":           {stranger, "web.shop:80", "pod shop/stranger with UID uid-stranger is not known"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel() // gRPC waits 15 s before it takes a resource for missing
			// A new connection fails without a reason for an instant, so that calls are repeated on it. Who is
			// refused after the handshake (TLS 1.3) may write before it reads the reason: it connects again.
			start, conn := time.Now(), p.dial(c.bootstrap, c.target, false)
			var err error
			for ; time.Since(start) < 45*time.Second; time.Sleep(20 * time.Millisecond) {
				_, err = call(context.Background(), conn, echo)
				if gstatus.Code(err) != codes.Unavailable || strings.Contains(err.Error(), c.says) {
					break
				}
				if strings.Contains(err.Error(), "broken pipe") || strings.Contains(err.Error(), "connection reset") {
					_ = conn.Close()
					conn = p.dial(c.bootstrap, c.target, false)
				}
			}
			if gstatus.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), c.says) {
				t.Errorf("after %v: %v, want UNAVAILABLE with %q", time.Since(start), err, c.says)
			}
		})
	}
}
