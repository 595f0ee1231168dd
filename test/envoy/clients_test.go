// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
)

// TestStreamsOfAGateway: a Gateway's clients may have as many streams, and send as much ahead, as it says.
func TestStreamsOfAGateway(t *testing.T) {
	m := newMesh(t)
	m.clients.Streams, m.clients.StreamWindow = 500, 2<<20
	_, d := edgeTo(t, m, model.Rule{})
	f := d.framed(t)
	eventually(t, 5*time.Second, func() error {
		if _, _, s := f.Seen(); s[http2.SettingMaxConcurrentStreams] != 500 || s[http2.SettingInitialWindowSize] != 2<<20 {
			return fmt.Errorf("settings %v", s)
		}
		return nil
	})
	const held = 400 // four times the default
	for n := range held {
		if _, err := f.Ask(n, "GET", "/hang"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 20*time.Second, func() error {
		if status, resets, _ := f.Seen(); len(status) < held {
			return fmt.Errorf("%d of %d streams have an answer, %d were reset", len(status), held, len(resets))
		}
		return nil
	})
}

// TestManyHeaders: as many headers pass a Gateway as pass between proxies. One more is refused by the first proxy: the
// next one takes what that one adds.
func TestManyHeaders(t *testing.T) {
	add := model.HeaderMods{}
	for i := range 16 {
		name := fmt.Sprintf("x-mod-%d", i)
		add.Set = append(add.Set, model.Header{Name: name, Value: "1"})
		add.Add = append(add.Add, model.Header{Name: name, Value: "2"})
	}
	for _, rule := range []model.Rule{{}, {RequestHeaders: add}} {
		for _, d := range ways(t, verbatim, rule) {
			passed := 0
			for n := 236; n <= 264; n++ {
				var b strings.Builder
				for i := range n {
					fmt.Fprintf(&b, "h%d: 1\r\n", i)
				}
				switch got := d.send(t, "GET / HTTP/1.1\r\nHost: www.example.com\r\n"+b.String()+"\r\n"); {
				case got.status == 200 && passed == n-236:
					passed++
				case got.status != 431:
					t.Errorf("%s: %d headers: %d", d.name, n, got.status)
				}
			}
			if last := 235 + passed; last < 250 || last > 256 {
				t.Errorf("%s: up to %d headers pass", d.name, last)
			}
		}
	}
}

// TestManyHeadersOfAnswers: an answer with as many headers as a proxy takes from its application gets to the client,
// and with more it is one of 502.
func TestManyHeadersOfAnswers(t *testing.T) {
	serve := func(l net.Listener) {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := strconv.Atoi(r.URL.Query().Get("n"))
			for i := range n {
				w.Header().Set(fmt.Sprintf("h%d", i), "1")
			}
		}))
	}
	add := model.HeaderMods{}
	for i := range 16 {
		add.Set = append(add.Set, model.Header{Name: fmt.Sprintf("x-mod-%d", i), Value: "1"})
	}
	for _, d := range ways(t, func(l net.Listener) { go serve(l) }, model.Rule{ResponseHeaders: add}) {
		passed := 0
		for n := 236; n <= 264; n++ {
			switch got := d.send(t, fmt.Sprintf("GET /?n=%d HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n", n)); {
			case got.status == 200 && passed == n-236:
				passed++
			case got.status != 502:
				t.Errorf("%s: %d headers: %d", d.name, n, got.status)
			}
		}
		if last := 235 + passed; last < 250 || last > 256 {
			t.Errorf("%s: up to %d headers pass", d.name, last)
		}
	}
}

// v2 is a header of version 2 of the PROXY protocol for TCP over IPv4.
func v2(from, to net.IP, fromPort, toPort uint16) string {
	b := bytes.NewBufferString("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c")
	b.Write(from.To4())
	b.Write(to.To4())
	b.Write([]byte{byte(fromPort >> 8), byte(fromPort), byte(toPort >> 8), byte(toPort)})
	return b.String()
}

// TestProxyProtocol: a Gateway behind a load balancer that reports clients' addresses by the PROXY protocol passes these on. A
// connection without, or with a malformed header, is closed, unless the Gateway accepts connections without.
func TestProxyProtocol(t *testing.T) {
	m := newMesh(t)
	bare := m.wire.plug(t, "198.18.9.20", false)
	verbatim(bare.listen(t, ":8080"))
	web := service{name: "web", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.20", 8080)}}
	gateway := model.Key{Namespace: "shop", Name: "public"}
	resources := concat(envoy.Common(model.Settings{}), web.backend(m), []envoy.Resource{
		{TypeURL: envoy.SecretType, Name: "identity", Message: identitySecret(t, m.pki, "spiffe://cluster.local/ns/shop/sa/public-tulle")},
	})
	for port, mode := range map[uint16]string{80: model.ProxyProtocolRequire, 81: model.ProxyProtocolAccept} {
		table := fmt.Sprintf("gw/shop/public/%d", port)
		resources = append(resources,
			envoy.GatewayListener(model.GatewayPort{Gateway: gateway, Port: port, ProxyProtocol: mode, Sections: []model.GatewaySection{{Name: "http", Table: table}}}),
			envoy.Routes(model.RouteTable{Name: table, Hosts: []model.VirtualHost{{Domains: []string{"*"}, Rules: []model.Rule{{Backends: []model.WeightedBackend{web.to(1)}}}}}}))
	}
	p := startProxy(t, m.bin, edge(t, m, "198.18.9.3"), m.ads, "gateway", resources)
	outside := m.wire.plug(t, "198.18.9.30", false)
	const request = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.66\r\nConnection: close\r\n\r\n"
	for name, c := range map[string]struct {
		header           string
		require, accepts string // the last address of x-forwarded-for; empty: the connection is closed
	}{
		"version 1":           {"PROXY TCP4 203.0.113.9 198.18.9.3 5000 80\r\n", "203.0.113.9", "203.0.113.9"},
		"version 1 over IPv6": {"PROXY TCP6 2001:db8::9 2001:db8::1 5000 80\r\n", "2001:db8::9", "2001:db8::9"},
		"version 1, unknown":  {"PROXY UNKNOWN\r\n", "198.18.9.30", "198.18.9.30"},
		"version 2":           {v2(net.IPv4(203, 0, 113, 8), net.IPv4(198, 18, 9, 3), 5000, 80), "203.0.113.8", "203.0.113.8"},
		"version 2, local":    {"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "198.18.9.30", "198.18.9.30"},
		"none":                {"", "", "198.18.9.30"},
		"malformed":           {"PROXY TCP4 203.0.113.999 198.18.9.3 5000 80\r\n", "", ""},
		"too long":            {"PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", "", ""},
		"version 2, cut off":  {"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x04\x01\x02\x03\x04", "", ""},
	} {
		for port, want := range map[int]string{80: c.require, 81: c.accepts} {
			conn, r := dialFrom(t, outside, fmt.Sprintf("198.18.9.3:%d", port))
			_, _ = io.WriteString(conn, c.header+request)
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			b, err := io.ReadAll(r)
			if isTimeout(err) {
				t.Errorf("%s at %d: it stays open", name, port)
			}
			_, got, _ := strings.Cut(strings.ToLower(string(b)), "\r\nx-forwarded-for: ")
			got, _, _ = strings.Cut(got, "\r\n")
			if i := strings.LastIndex(got, ","); i >= 0 {
				got = strings.TrimSpace(got[i+1:])
			}
			if got != want || want == "" && bytes.HasPrefix(b, []byte("HTTP/1.1 200")) {
				t.Errorf("%s at %d: client %q, want %q: %.80q", name, port, got, want, b)
			}
		}
	}
	found := false
	for name, n := range p.kept(t) {
		found = found || strings.HasPrefix(name, "proxy_proto.") && strings.HasSuffix(name, "not_found_disallowed") && n > 0
	}
	if !found {
		b, err := p.get("/stats?filter=proxy_proto")
		t.Errorf("connections without the header are not counted: %s, %v", b, err)
	}
}
