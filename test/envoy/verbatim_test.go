// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
)

// door is a way to the server: requests are written and shown byte for byte, since Go's client and
// server would put some of them right and refuse others.
type door struct {
	name string
	ns   *netns
	addr string
}

// doors makes the two ways to one server whose routes are rules: "edge" is from outside through a
// gateway, for www.example.com and *.wild.example alone, "mesh" from a pod with a proxy, for any host.
func doors(t *testing.T, m *mesh, serve func(net.Listener), rules ...model.Rule) (edge, mesh door) {
	t.Helper()
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Strict: true, Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, nil)
	serve(server.listen(t, ":8080"))
	web := service{name: "web", vip: "198.19.9.1", protocol: model.HTTP, accounts: []string{"server"}, endpoints: []model.Endpoint{meshed(server.ip, 8080)}}
	for i := range rules {
		rules[i].Backends = []model.WeightedBackend{web.to(1)}
	}
	from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, web.all(m, rules...))
	gateway := m.gateway(t, "198.18.9.3", []string{"www.example.com", "*.wild.example"}, rules, web.backend(m))
	return door{"edge", m.wire.plug(t, "198.18.9.30", false), gateway}, door{"mesh", from.netns, "198.19.9.1:80"}
}

// gateway makes a gateway's proxy with one HTTP listener, and says where it listens.
func (m *mesh) gateway(t *testing.T, ip string, domains []string, rules []model.Rule, backends []envoy.Resource) string {
	t.Helper()
	m.edge(t, ip, domains, rules, backends)
	return ip + ":80"
}

// edge is gateway, and returns the proxy.
func (m *mesh) edge(t *testing.T, ip string, domains []string, rules []model.Rule, backends []envoy.Resource) *proxy {
	t.Helper()
	ns := m.wire.plug(t, ip, false)
	if err := ns.in(func() error { // as the kubelet does for Gateways' pods
		return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0)
	}); err != nil {
		t.Fatal(err)
	}
	return startProxy(t, m.bin, ns, m.ads, "gateway", concat(envoy.Common(model.Settings{}), backends, []envoy.Resource{
		{TypeURL: envoy.SecretType, Name: "identity", Message: identitySecret(t, m.pki, "spiffe://cluster.local/ns/shop/sa/public-tulle")},
		envoy.GatewayListener(model.GatewayPort{
			Gateway: model.Key{Namespace: "shop", Name: "public"}, Port: 80,
			Sections:       []model.GatewaySection{{Name: "http", Table: "gw/shop/public/80"}},
			ClientSettings: m.clients,
		}),
		envoy.Routes(model.RouteTable{Name: "gw/shop/public/80", Hosts: []model.VirtualHost{{Domains: domains, Rules: rules}}}),
	}))
}

// called is a rule that tells its name to the client.
func called(name string, match model.Match) model.Rule {
	return model.Rule{Match: match, ResponseHeaders: model.HeaderMods{Set: []model.Header{{Name: "x-rule", Value: name}}}}
}

func exact(p string) model.Match {
	return model.Match{Path: model.PathMatch{Kind: model.PathExact, Value: p}}
}

// verbatim is a server that answers requests without a body with their own heads.
func verbatim(l net.Listener) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r, head := bufio.NewReader(c), ""
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if line != "\r\n" {
						head += line
						continue
					}
					_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(head), head)
					head = ""
				}
			}()
		}
	}()
}

// reply is what came back; status 0 is a closed connection.
type reply struct {
	status int
	rule   string
	// head is what the application got: the request line and the header lines that are not the proxies' own.
	head []string
}

// String is the rule and the request line without the version, or the status.
func (r reply) String() string {
	if len(r.head) == 0 {
		return fmt.Sprint(r.status)
	}
	return r.rule + ": " + strings.TrimSuffix(r.head[0], " HTTP/1.1")
}

// send opens a connection, writes the request as it is and reads one response.
func (d door) send(t *testing.T, request string) reply {
	t.Helper()
	c, r := d.dial(t)
	defer c.Close()
	go func() { _, _ = io.WriteString(c, request) }() // the answer may come before all of it is read
	return receive(r)
}

func (d door) dial(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	return dialFrom(t, d.ns, d.addr)
}

// receive reads one response.
func receive(r *bufio.Reader) reply {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return reply{}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	got := reply{status: resp.StatusCode, rule: resp.Header.Get("X-Rule")}
	if err != nil || got.status != 200 {
		return got
	}
	own := func(line string) bool {
		for _, name := range []string{"host:", "x-forwarded-", "x-request-id:", "x-envoy-external-address:"} {
			if strings.HasPrefix(line, name) {
				return true
			}
		}
		return line == ""
	}
	got.head = slices.DeleteFunc(strings.Split(string(b), "\r\n"), own)
	return got
}

// wanted fails where a door does not answer as it should.
func (d door) wanted(t *testing.T, request, want string) {
	t.Helper()
	if got := d.send(t, request).String(); got != want {
		t.Errorf("%s, %.100q: got %q, want %q", d.name, request, shortened(got), shortened(want))
	}
}

func shortened(s string) string {
	if len(s) > 300 {
		return fmt.Sprintf("%s... (%d)", s[:300], len(s))
	}
	return s
}
