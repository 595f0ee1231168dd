// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/models"
)

// stage is a gateway's proxy and the applications behind it, which are no pods of the mesh.
type stage struct {
	*mesh
	*proxy
	apps, outside *netns
	key           model.Key
	leaf          leaf
}

func newStage(t *testing.T) *stage {
	t.Helper()
	m := newMesh(t)
	s := &stage{mesh: m, apps: m.wire.plug(t, "198.18.9.50", false), outside: m.wire.plug(t, "198.18.9.30", false), key: model.Key{Namespace: "shop", Name: "public"}}
	s.leaf = m.pki.leaf(t, "", "*.example.com")
	ns := m.wire.plug(t, "198.18.9.3", false)
	if err := ns.in(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0) }); err != nil {
		t.Fatal(err)
	}
	s.proxy = startProxy(t, m.bin, ns, m.ads, "gateway", envoy.Common(model.Settings{}))
	return s
}

// hold gives the gateway ports, and the clusters of the Services named, each on a port of its own of apps.
func (s *stage) hold(t *testing.T, as string, services map[string]uint16, ports ...model.GatewayPort) {
	t.Helper()
	s.update(t, s.resources(as, services, ports...))
}

// change is hold for a change that Envoy can make in place: then it goes on telling the version that the
// listener had before, and only its count of such changes tells.
func (s *stage) change(t *testing.T, services map[string]uint16, ports ...model.GatewayPort) {
	t.Helper()
	const changes = "listener_manager.listener_in_place_updated"
	before := s.stat(t, changes)
	s.proxy.ads.set(t, s.node, s.resources("", services, ports...))
	eventually(t, 10*time.Second, func() error {
		if msg := s.proxy.ads.refusal(s.node); msg != "" {
			t.Fatalf("the gateway refuses its config: %s", msg)
		}
		if n := s.stat(t, changes); n <= before || s.proxy.ads.waiting(s.node) != "" {
			return fmt.Errorf("%d changes were made in place, the listener had %d before", n, before)
		}
		return nil
	})
}

func (s *stage) resources(as string, services map[string]uint16, ports ...model.GatewayPort) []envoy.Resource {
	out := envoy.Common(model.Settings{})
	for name, port := range services {
		key, protocol := model.PortKey{Service: model.Key{Namespace: "shop", Name: name}, Port: 80}, model.TCP
		if as == names.AsDatagrams {
			protocol = model.UDP
		}
		out = append(out, envoy.Cluster(model.Backend{Key: key, As: as, Protocol: protocol, Transport: model.Plain}),
			envoy.Endpoints(model.Endpoints{Key: key, As: as, List: []model.Endpoint{plain("198.18.9.50", port)}}))
	}
	for _, p := range ports {
		p.Gateway = s.key
		out = append(out, models.Input{GatewayPorts: []model.GatewayPort{p}}.Resources()...)
		if p.TLS {
			out = append(out, envoy.TLSSecret(s.key, model.TLSSecret{Key: model.Key{Namespace: "shop", Name: "cert"}, Certificate: s.leaf.chain, PrivateKey: model.Redacted(s.leaf.key)}))
		}
	}
	return out
}

func share(name, as string, weight uint32) model.WeightedBackend {
	return model.WeightedBackend{Backend: model.PortKey{Service: model.Key{Namespace: "shop", Name: name}, Port: 80}, As: as, Weight: weight}
}

func stream(route string, hosts []string, to ...model.WeightedBackend) model.Stream {
	return model.Stream{Source: model.Object{Kind: "TLSRoute", Namespace: "shop", Name: route}, Hosts: hosts, Backends: to}
}

// hello opens a TLS connection and reads the greeting of the application that ends up with it.
func (s *stage) hello(t *testing.T, port, sni string, roots *x509.CertPool) (net.Conn, *bufio.Reader, string, error) {
	t.Helper()
	c, _ := dialFrom(t, s.outside, "198.18.9.3:"+port)
	tc := tls.Client(c, &tls.Config{ServerName: sni, RootCAs: roots})
	if err := tc.HandshakeContext(t.Context()); err != nil {
		return nil, nil, "", err
	}
	r := bufio.NewReader(tc)
	return tc, r, line(t, r), nil
}

// TestTLSStreams: on one port the gateway ends TLS for one name and passes it on for another, and a
// connection by one route outlives changes of the other route and of the listeners.
func TestTLSStreams(t *testing.T) {
	s := newStage(t)
	roots, theirs := x509.NewCertPool(), newAuthority(t)
	roots.AppendCertsFromPEM([]byte(s.pki.roots()))
	backends := x509.NewCertPool()
	backends.AppendCertsFromPEM([]byte(theirs.roots()))
	pass := theirs.leaf(t, "", "pass.example.com")
	own, err := tls.X509KeyPair([]byte(pass.chain), []byte(pass.key))
	if err != nil {
		t.Fatal(err)
	}
	banner(t, s.apps.listen(t, ":7001"), "plain")
	banner(t, tls.NewListener(s.apps.listen(t, ":7002"), &tls.Config{Certificates: []tls.Certificate{own}}), "tls")
	banner(t, s.apps.listen(t, ":7003"), "other")
	services := map[string]uint16{"plain": 7001, "tls": 7002, "other": 7003}
	port := func(names int, more ...model.GatewaySection) model.GatewayPort {
		return model.GatewayPort{Port: 443, TLS: true, Sections: append([]model.GatewaySection{
			{Name: "ends", Hostname: "end.example.com", Certificates: []model.Key{{Namespace: "shop", Name: "cert"}}, Bytes: true, Table: "gw/shop/public/443/ends", Streams: []model.Stream{
				stream("kept", []string{"end.example.com"}, share("plain", "", 1)),
			}},
			{Name: "passes", Hostname: "*.example.com", Bytes: true, Passthrough: true, Table: "gw/shop/public/443/passes", Streams: []model.Stream{
				stream("changed", []string{"pass.example.com", "one-more.example.com", "another.example.com"}[:names], share("tls", "", 1)),
				{Hosts: []string{"*.example.com"}},
			}},
		}, more...)}
	}
	s.hold(t, "", services, port(1))
	kept, r, who, err := s.hello(t, "443", "end.example.com", roots)
	if err != nil || who != "220 plain" {
		t.Fatalf("TLS that ends at the gateway: %q, %v", who, err)
	}
	if _, _, who, err := s.hello(t, "443", "pass.example.com", backends); err != nil || who != "220 tls" {
		t.Errorf("TLS that is passed on: %q, %v", who, err)
	}
	for _, sni := range []string{"nobody.example.com", "example.org"} {
		if _, _, who, err := s.hello(t, "443", sni, roots); err == nil {
			t.Errorf("%s is served by %q", sni, who)
		}
	}
	for i := range 5 {
		s.change(t, services, port(2+i%2), model.GatewayPort{Port: 9300 + uint16(i), Sections: []model.GatewaySection{
			{Name: "tcp", Bytes: true, Table: "gw/shop/public/9300/tcp", Streams: []model.Stream{stream("tcp", nil, share("other", "", 1))}},
		}})
	}
	s.change(t, services, port(1, model.GatewaySection{Name: "new", Hostname: "new.example.com", Bytes: true, Passthrough: true, Table: "gw/shop/public/443/new", Streams: []model.Stream{
		stream("new", []string{"new.example.com"}, share("tls", "", 1)),
	}}))
	time.Sleep(4 * time.Second) // twice what this Envoy gives connections that are to end
	send(t, kept, "still there\n")
	if got := line(t, r); got != "250 still there" {
		t.Errorf("the connection by a route that did not change says %q", got)
	}
	var mismatch x509.HostnameError // the backend's certificate has another name: it was asked
	if _, _, who, err := s.hello(t, "443", "new.example.com", backends); !errors.As(err, &mismatch) {
		t.Errorf("a new name is not passed on: %q, %v", who, err)
	}
}

// TestOwnWeights: a connection by a route outlives a thousand changes of the route's own weights, each of
// which is for new connections, and what it is sent to next.
func TestOwnWeights(t *testing.T) {
	s := newStage(t)
	banner(t, s.apps.listen(t, ":7001"), "old")
	banner(t, s.apps.listen(t, ":7002"), "new")
	services := map[string]uint16{"old": 7001, "new": 7002}
	port := func(old, canary uint32) model.GatewayPort {
		return model.GatewayPort{Port: 9300, Sections: []model.GatewaySection{{Name: "tcp", Bytes: true, Table: "gw/shop/public/9300/tcp", Streams: []model.Stream{
			{Source: model.Object{Kind: "TCPRoute", Namespace: "shop", Name: "db"}, Backends: []model.WeightedBackend{share("old", "", old), share("new", "", canary)}},
		}}}}
	}
	s.hold(t, "", services, port(1, 0))
	kept, r := dialFrom(t, s.outside, "198.18.9.3:9300")
	if got := line(t, r); got != "220 old" {
		t.Fatalf("the first connection is greeted with %q", got)
	}
	for i := range uint32(1000) {
		s.proxy.ads.set(t, s.node, s.resources("", services, port(i%3, 1)))
		if i%100 == 99 {
			s.hold(t, "", services, port(i%3, 2))
			_ = kept.SetDeadline(time.Now().Add(30 * time.Second))
			send(t, kept, "still there\n")
			if got := line(t, r); got != "250 still there" {
				t.Fatalf("after %d changes the connection says %q", i+1, got)
			}
		}
	}
	for _, name := range []string{"listener_manager.listener_in_place_updated", "listener_manager.listener_modified"} {
		if n := s.stat(t, name); n != 0 {
			t.Errorf("%s is %d: each ends connections", name, n)
		}
	}
	time.Sleep(4 * time.Second) // twice what this Envoy gives connections that are to end
	send(t, kept, "still there\n")
	if got := line(t, r); got != "250 still there" {
		t.Errorf("the connection says %q", got)
	}
	s.hold(t, "", services, port(0, 1))
	for range 10 {
		_, r := dialFrom(t, s.outside, "198.18.9.3:9300")
		if got := line(t, r); got != "220 new" {
			t.Fatalf("a new connection is greeted with %q", got)
		}
	}
}

// TestUDPStreams: datagrams go to the backends by weight, each client's stay together, and the share of
// an invalid backend is dropped.
func TestUDPStreams(t *testing.T) {
	s := newStage(t)
	services := map[string]uint16{"a": 7001, "b": 7002, "c": 7003}
	for name, port := range services {
		answering(t, s.apps, port, name)
	}
	udp := func(n uint16, to ...model.WeightedBackend) model.GatewayPort {
		return model.GatewayPort{Port: n, UDP: true, Sections: []model.GatewaySection{
			{Name: "udp", Bytes: true, Table: "gw/shop/public/udp/53", Streams: []model.Stream{stream("r", nil, to...)}},
		}}
	}
	as := names.AsDatagrams
	s.hold(t, as, services,
		udp(53, share("a", as, 70), share("b", as, 30), share("c", as, 0)),
		udp(54, share("a", as, 1), model.WeightedBackend{Weight: 1, Invalid: true}),
		udp(55, model.WeightedBackend{Weight: 1, Invalid: true}),
		model.GatewayPort{Port: 53, Sections: []model.GatewaySection{{Name: "tcp", Bytes: true, Table: "gw/shop/public/53/tcp"}}},
	)
	for port, want := range map[string]map[string]float64{"53": {"a": 0.7, "b": 0.3}, "54": {"a": 0.5, "": 0.5}, "55": {"": 1}} {
		const clients = 150
		got := s.ask(t, port, clients)
		for name, share := range want {
			if dev := math.Abs(float64(got[name]) - share*clients); dev > 1+5*math.Sqrt(clients*share*(1-share)) {
				t.Errorf("port %s: %q has %d of %d clients, want a share of %.2f: %v", port, name, got[name], clients, share, got)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Errorf("port %s: others got datagrams: %v", port, got)
		}
	}
}

// ask sends from many ports, twice from each, and counts who answers; "" is nobody. It goes by crowds: a
// socket's receive buffer holds some 277 datagrams, the kernel drops what comes while it is full, and a
// busy machine may let none of them be read before the last one is sent.
func (s *stage) ask(t *testing.T, port string, clients int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for left := clients; left > 0; left -= crowd {
		for _, who := range s.crowd(t, port, min(left, crowd)) {
			switch {
			case len(who) == 0:
				got[""]++
			case len(who) < 2 || who[0] != who[1]:
				t.Errorf("two datagrams of one client were answered by %q", who)
			default:
				got[who[0]]++
			}
		}
	}
	return got
}

const crowd = 75

// crowd sends from that many ports at once and returns what each of them is answered.
func (s *stage) crowd(t *testing.T, port string, clients int) [][]string {
	t.Helper()
	conns := make([]net.Conn, clients)
	for i := range conns {
		c, err := s.outside.dial(t.Context(), "udp4", "198.18.9.3:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
		for range 2 {
			if _, err := c.Write([]byte("who")); err != nil {
				t.Fatal(err)
			}
		}
	}
	out := make([][]string, clients)
	var wg sync.WaitGroup
	for i, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
		wg.Go(func() {
			for range 2 {
				b := make([]byte, 64)
				n, err := c.Read(b)
				if err != nil {
					return
				}
				out[i] = append(out[i], string(b[:n]))
			}
		})
	}
	wg.Wait()
	return out
}

// answering runs a server that replies to every datagram with its name.
func answering(t *testing.T, ns *netns, port uint16, name string) {
	t.Helper()
	var c net.PacketConn
	if err := ns.in(func() (err error) {
		c, err = new(net.ListenConfig).ListenPacket(t.Context(), "udp4", fmt.Sprintf(":%d", port))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 64)
		for {
			_, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(name), from)
		}
	}()
}
