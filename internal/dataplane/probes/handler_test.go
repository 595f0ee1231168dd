// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package probes

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// token is the random part of the paths.
const token = "000102030405060708090a0b0c0d0e0f"

// ask puts one recorded probe to a handler of a pod whose address is 127.0.0.1.
func ask(t *testing.T, p protocol.Probe) (status int, text string) {
	t.Helper()
	path := protocol.ProbePath(token, "app", "readiness")
	h := NewHandler(protocol.Probes{path: p}, Pod{IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, slog.New(slog.DiscardHandler))
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("User-Agent", "kube-probe/1.36")
	r.Header.Set("Authorization", "must not reach the application")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func portOf(t *testing.T, addr string) uint16 {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}

func app(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	switch r.URL.Path {
	case "/ok":
		fmt.Fprintf(w, "%s from %s, agent %q, x %q, authorization %q, query %q", r.Host, host, r.UserAgent(), r.Header["X"], r.Header.Get("Authorization"), r.URL.RawQuery)
	case "/slow":
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
	case "/moved":
		http.Redirect(w, r, "/ok", http.StatusFound)
	case "/moved-to-failing":
		http.Redirect(w, r, "/none", http.StatusFound)
	case "/elsewhere":
		http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
	case "/loop":
		http.Redirect(w, r, "/loop", http.StatusFound)
	default:
		http.Error(w, strings.Repeat("not ready ", 1000), http.StatusInternalServerError)
	}
}

func TestHTTP(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(app))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(app))
	defer secure.Close()
	port := func(s *httptest.Server) uint16 { u, _ := url.Parse(s.URL); return portOf(t, u.Host) }
	seen := fmt.Sprintf("127.0.0.1:%d from %s, agent %q, x [], authorization \"\", query \"\"", port(plain), names.InboundSource, "kube-probe/1.36")
	for _, c := range []struct {
		name   string
		probe  protocol.HTTPProbe
		status int
		text   string
	}{
		{"success", protocol.HTTPProbe{Port: port(plain), Path: "/ok"}, 200, seen},
		{"path without a slash", protocol.HTTPProbe{Port: port(plain), Path: "ok"}, 200, seen},
		{"query", protocol.HTTPProbe{Port: port(plain), Path: "/ok?a=b"}, 200, `query "a=b"`},
		{"headers", protocol.HTTPProbe{Port: port(plain), Path: "/ok", Headers: [][2]string{{"host", "shop"}, {"x", "1"}, {"X", "2"}, {"user-agent", "mine"}}}, 200, `shop from 127.0.0.6, agent "mine", x ["1" "2"]`},
		{"TLS without a check", protocol.HTTPProbe{Port: port(secure), Path: "/ok", Scheme: "HTTPS"}, 200, "from 127.0.0.6"},
		{"plaintext to TLS", protocol.HTTPProbe{Port: port(secure), Path: "/ok"}, 400, "HTTPS server"},
		{"failure, its text cut", protocol.HTTPProbe{Port: port(plain), Path: "/none"}, 500, "not ready"},
		{"redirection is followed", protocol.HTTPProbe{Port: port(plain), Path: "/moved"}, 200, seen},
		{"to a failure", protocol.HTTPProbe{Port: port(plain), Path: "/moved-to-failing"}, 500, "not ready"},
		{"redirection to another host is success", protocol.HTTPProbe{Port: port(plain), Path: "/elsewhere"}, 200, ""},
		{"endless redirection", protocol.HTTPProbe{Port: port(plain), Path: "/loop"}, 503, "stopped after 10 redirects"},
		{"nobody listens", protocol.HTTPProbe{Port: 1, Path: "/"}, 503, "connection refused"},
		{"bad path", protocol.HTTPProbe{Port: port(plain), Path: "/%zz"}, 503, "invalid URL escape"},
	} {
		status, text := ask(t, protocol.Probe{HTTP: &c.probe})
		if status != c.status || !strings.Contains(text, c.text) || len(text) > maxAnswer {
			t.Errorf("%s: %d %q; want %d with %q", c.name, status, text, c.status, c.text)
		}
	}
	began := time.Now()
	if status, _ := ask(t, protocol.Probe{HTTP: &protocol.HTTPProbe{Port: port(plain), Path: "/slow"}}); status != 503 || time.Since(began) > 4*time.Second {
		t.Errorf("a slow application: %d after %v; want 503 after the default of 1 s", status, time.Since(began))
	}
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(t, l.Addr().String())
	if status, text := ask(t, protocol.Probe{TCP: &protocol.TCPProbe{Port: port}}); status != 200 {
		t.Errorf("an open port: %d %s", status, text)
	}
	l.Close()
	if status, text := ask(t, protocol.Probe{TCP: &protocol.TCPProbe{Port: port}}); status != 503 {
		t.Errorf("a closed port: %d %s", status, text)
	}
}

func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, h := grpc.NewServer(), health.NewServer()
	healthv1.RegisterHealthServer(s, h)
	go s.Serve(l)
	defer s.Stop()
	h.SetServingStatus("cart", healthv1.HealthCheckResponse_NOT_SERVING)
	port := portOf(t, l.Addr().String())
	for _, c := range []struct {
		probe  protocol.GRPCProbe
		status int
		text   string
	}{
		{protocol.GRPCProbe{Port: port}, 200, "SERVING"},
		{protocol.GRPCProbe{Port: port, Service: "cart"}, 503, "NOT_SERVING"},
		{protocol.GRPCProbe{Port: port, Service: "none"}, 503, "NotFound"},
		{protocol.GRPCProbe{Port: 1}, 503, "Unavailable"},
	} {
		if status, text := ask(t, protocol.Probe{GRPC: &c.probe}); status != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%+v: %d %q; want %d %q", c.probe, status, text, c.status, c.text)
		}
	}
}

// TestForeignHost: a probe with a host of its own goes there from the pod's usual address.
func TestForeignHost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Pod{IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}.DialContext(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if host, _, _ := net.SplitHostPort(c.LocalAddr().String()); host == names.InboundSource {
		t.Errorf("connected from %s to a host that is not the pod", host)
	}
}
