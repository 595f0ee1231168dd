// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// smuggled is what an attacker sends after a request that may become a tunnel.
const smuggled = "GET /forged HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=spiffe://cluster.local/ns/x/sa/forged\r\n\r\n"

// obliging is an application that answers any request with 200, as many handlers do, and reports it.
func obliging(seen chan string) func(net.Listener) {
	return func(l net.Listener) {
		var p http.Protocols
		p.SetHTTP1(true)
		p.SetUnencryptedHTTP2(true)
		s := &httptest.Server{Listener: l, Config: &http.Server{Protocols: &p, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen <- fmt.Sprintf("%s %s %q", r.Method, r.URL.Path, r.Header.Get("x-forwarded-client-cert"))
			_, _ = io.WriteString(w, "hello")
		})}}
		s.Start()
	}
}

// TestConnect: no CONNECT request gets to an application, not even by a route that names the method. An
// answer of 200 would begin a tunnel, and proxies do not read what comes through it: the application would
// get a forged x-forwarded-client-cert. The same holds for an upgrade that the application ignores.
func TestConnect(t *testing.T) {
	seen := make(chan string, 1000)
	doors := ways(t, obliging(seen), model.Rule{Match: model.Match{Method: http.MethodConnect}}, model.Rule{})
	doors = append(doors, strictPod(t, seen))
	for _, d := range doors {
		for first, want := range map[string]string{
			"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n":                                          "404",
			"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n":   "",
			"GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: CONNECT\r\n\r\n": "200",
		} {
			d.smuggles(t, first, want, false)
			d.smuggles(t, first, want, true)
		}
		if status := d.connectHTTP2(t); status != http.StatusNotFound {
			t.Errorf("%s, CONNECT over HTTP/2: %d, want 404", d.name, status)
		}
	}
	close(seen)
	for got := range seen {
		if strings.HasPrefix(got, http.MethodConnect) || strings.Contains(got, "sa/forged") {
			t.Errorf("an application got %s", got)
		}
	}
}

// strictPod is the way to a pod's own address in Strict mode.
func strictPod(t *testing.T, seen chan string) door {
	t.Helper()
	m := newMesh(t)
	m.common = onDemand()
	server := m.sidecar(t, "server", "198.18.9.41", model.Inbound{Strict: true, Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, nil)
	obliging(seen)(server.listen(t, ":8080"))
	from := m.sidecar(t, "client", "198.18.9.42", model.Inbound{}, nil)
	from.hold(t, append(m.account("server"), toPod("198.18.9.41:8080", "server")))
	return door{"strict", from.netns, "198.18.9.41:8080"}
}

// smuggles sends a request and then another one that a proxy should read, after the answer or together
// with the first. An empty want is any answer.
func (d door) smuggles(t *testing.T, first, want string, together bool) {
	t.Helper()
	c, r := d.dial(t)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if together {
		first += smuggled
	}
	_, _ = io.WriteString(c, first)
	line, err := r.ReadString('\n')
	if got := strings.Fields(line + " - -")[1]; want != "" && got != want {
		t.Errorf("%s, %.40q: %q, %v; want %s", d.name, first, line, err, want)
	}
	if !together {
		_, _ = io.WriteString(c, smuggled)
	}
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_, _ = io.Copy(io.Discard, r)
}

// connectHTTP2 is the status that a CONNECT request gets over HTTP/2.
func (d door) connectHTTP2(t *testing.T) int {
	t.Helper()
	c, _ := d.dial(t)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	body, in := io.Pipe()
	defer in.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, "http://x:1", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http2Over(c).RoundTrip(req)
	if err != nil {
		t.Errorf("%s, CONNECT over HTTP/2: %v", d.name, err)
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
