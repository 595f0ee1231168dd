// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// ways are all the ways to an HTTP port: to a pod without a proxy from a pod with one ("out"), between
// two proxies ("mesh"), to a proxy from a pod without one ("in"), and from outside ("edge"). The rules of all
// but "in" can be given.
func ways(t *testing.T, serve func(net.Listener), rules ...model.Rule) []door {
	t.Helper()
	m := newMesh(t)
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, nil)
	bare := m.wire.plug(t, "198.18.9.20", false)
	serve(server.listen(t, ":8080"))
	serve(bare.listen(t, ":8080"))
	web := service{name: "web", vip: "198.19.9.1", protocol: model.HTTP, accounts: []string{"server"}, endpoints: []model.Endpoint{meshed(server.ip, 8080)}}
	old := service{name: "old", vip: "198.19.9.2", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.20", 8080)}}
	if len(rules) == 0 {
		rules = []model.Rule{{}}
	}
	to := func(s service) []model.Rule {
		out := slices.Clone(rules)
		for i := range out {
			out[i].Backends = []model.WeightedBackend{s.to(1)}
		}
		return out
	}
	from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, concat(web.all(m, to(web)...), old.all(m, to(old)...)))
	edge := m.gateway(t, "198.18.9.3", []string{"*"}, to(web), web.backend(m))
	outside := m.wire.plug(t, "198.18.9.30", false)
	return []door{{"out", from.netns, "198.19.9.2:80"}, {"mesh", from.netns, "198.19.9.1:80"}, {"in", outside, "198.18.9.11:8080"}, {"edge", outside, edge}}
}

// switching is a server that shows requests as verbatim does, their bodies too; it accepts WebSockets at
// /ws, and then echoes.
func switching(l net.Listener) {
	serve := func(c net.Conn) {
		defer c.Close()
		r := bufio.NewReader(c)
		for {
			head, length := "", 0
			for !strings.HasSuffix(head, "\r\n\r\n") {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				head += line
				_, _ = fmt.Sscanf(line, "content-length: %d", &length)
			}
			switch {
			case strings.HasPrefix(head, "GET /ws "):
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				_, _ = io.Copy(c, r)
				return
			}
			body := make([]byte, length)
			if _, err := io.ReadFull(r, body); err != nil {
				return
			}
			shown := strings.TrimSuffix(head, "\r\n") + string(body)
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(shown), shown)
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
}

// TestUnknownUpgrades: an upgrade that is not passed on is ignored, and the application answers in
// HTTP/1.1 (RFC 9110, 7.8). It gets no field of the upgrade; WebSocket is found among others.
func TestUnknownUpgrades(t *testing.T) {
	for _, d := range ways(t, switching) {
		for _, upgrade := range []string{
			"TLS/1.2", "foo/1", "h2c", "SPDY/3.1", "tcp", "foo/1, bar", "h2c, TLS/1.2", "foo\r\nUpgrade: bar", "IRC/6.9, RTA/x11",
			"v", "X", "xwebsocket", "CONNECT", "raw, tcp", "\"", "",
		} {
			got := d.send(t, "GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: "+upgrade+"\r\n\r\n")
			if got.String() != ": GET /a" || len(fields(got)) != 0 {
				t.Errorf("%s, %q: %d %q", d.name, upgrade, got.status, got.head)
			}
		}
		got := d.send(t, "POST /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, X-Hop\r\nX-Hop: 1\r\nUpgrade: foo/1\r\nContent-Length: 5\r\n\r\nhello")
		if want := []string{"content-length: 5", "hello"}; !slices.Equal(fields(got), want) {
			t.Errorf("%s, with a body: %d %q", d.name, got.status, got.head)
		}
		for _, upgrade := range []string{"websocket", "WebSocket", "h2c, websocket", "websocket, foo/1", "foo\r\nUpgrade: websocket"} {
			d.tunnels(t, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: "+upgrade+"\r\n\r\n", "101")
		}
	}
}

// TestMethods: a method is any token, and whether it is allowed is the application's affair (RFC 9110, 9.1).
func TestMethods(t *testing.T) {
	for _, d := range ways(t, switching) {
		for _, method := range []string{"PROPFIND", "MKACTIVITY", "M-SEARCH", "FROB", "frob", "PURGE", "BAN", "SUBSCRIBE", "PRI", "X!#$%&'*+-.^_`|~9"} {
			got := d.send(t, method+" /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
			if got.status != 200 || got.head[0] != method+" /a HTTP/1.1" || !slices.Contains(got.head, "hello") {
				t.Errorf("%s, %s: %d %q", d.name, method, got.status, got.head)
			}
		}
		d.wanted(t, "F(OB /a HTTP/1.1\r\nHost: h\r\n\r\n", "400") // no token
		// QUERY is nothing without a Content-Type, by its own specification.
		d.wanted(t, "QUERY /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "400")
		got := d.send(t, "QUERY /a HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
		if got.status != 200 || got.head[0] != "QUERY /a HTTP/1.1" {
			t.Errorf("%s, QUERY: %d %q", d.name, got.status, got.head)
		}
	}
}

// tunnels asks to change what is spoken, and wants the answer and then an echo.
func (d door) tunnels(t *testing.T, request, want string) {
	t.Helper()
	c, r := d.dial(t)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, request)
	status, err := r.ReadString('\n')
	got := strings.Fields(status + " - -")[1]
	for line := ""; line != "\r\n" && err == nil; {
		line, err = r.ReadString('\n')
		if to, ok := strings.CutPrefix(line, "x-to: "); ok {
			got += " " + strings.TrimSpace(to)
		}
	}
	_, _ = io.WriteString(c, "hello\n")
	echo, err := r.ReadString('\n')
	if got != want || echo != "hello\n" {
		t.Errorf("%s, %.60q: got %q, then %q, %v; want %q", d.name, request, got, echo, err, want)
	}
}

// fields are the header lines, and the body if there is one.
func fields(r reply) (out []string) {
	for i, line := range r.head {
		if i > 0 && line != "content-length: 0" {
			out = append(out, line)
		}
	}
	return out
}

// TestRequestID: the id by which a client follows its request stays, at Gateways too; a request without
// one gets one.
func TestRequestID(t *testing.T) {
	id := func(d door, line string) string {
		c, r := d.dial(t)
		defer c.Close()
		_, _ = io.WriteString(c, "GET /a HTTP/1.1\r\nHost: h\r\n"+line+"Connection: close\r\n\r\n")
		b, _ := io.ReadAll(r)
		_, rest, _ := strings.Cut(string(b), "x-request-id: ")
		id, _, _ := strings.Cut(rest, "\r\n")
		return id
	}
	for _, d := range ways(t, switching) {
		for _, own := range []string{"11111111-2222-4333-8444-555555555555", "order-7"} {
			if got := id(d, "X-Request-Id: "+own+"\r\n"); got != own {
				t.Errorf("%s: X-Request-Id %q, want %q", d.name, got, own)
			}
		}
		if a, b := id(d, ""), id(d, ""); len(a) != 36 || a == b {
			t.Errorf("%s: made %q and %q", d.name, a, b)
		}
	}
}
