// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// onDemand is envoy.Common with the chain for destinations that have no listener, as agents add it.
func onDemand() []envoy.Resource {
	out := envoy.Common(model.Settings{})
	for _, r := range out {
		if r.Name == names.Outbound {
			l := r.Message.(*listenerv3.Listener)
			l.FilterChains = append(l.FilterChains, envoy.DemandChain(model.DemandChain{Name: "on-demand", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15")}}))
		}
	}
	return out
}

// echoes serves lines, each answered with the server's name, until the test ends.
func echoes(l net.Listener, name string) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					fmt.Fprintf(c, "%s %s", name, line)
				}
			}()
		}
	}()
}

// talk is a connection that says a line and wants an answer.
type talk struct {
	net.Conn
	r *bufio.Reader
}

func (p *pod) talk(t *testing.T, addr string) *talk {
	t.Helper()
	c, err := p.dial(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &talk{c, bufio.NewReader(c)}
}

func (k *talk) say(line string) (string, error) {
	k.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprintln(k, line); err != nil {
		return "", err
	}
	return k.r.ReadString('\n')
}

// hails serves a greeting to every connection, as server-first protocols do, then lines.
func hails(l net.Listener, name string) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintf(c, "hello from %s\n", name)
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

func (m *mesh) account(name string) []envoy.Resource {
	k := model.Key{Namespace: "shop", Name: name}
	id := names.SPIFFE{TrustDomain: trustDomain, Namespace: "shop", ServiceAccount: name}.String()
	return []envoy.Resource{envoy.AccountSecret(model.AccountPeer{Account: k, Identity: id, Roots: m.pki.roots()})}
}

func toPod(addr, account string) envoy.Resource {
	return envoy.DestinationCluster(model.Destination{Addr: netip.MustParseAddrPort(addr), Account: model.Key{Namespace: "shop", Name: account}})
}

func through(addr string) envoy.Resource {
	return envoy.DestinationCluster(model.Destination{Addr: netip.MustParseAddrPort(addr)})
}

// asked waits until a proxy has asked for a cluster.
func (p *pod) asked(t *testing.T, addr string) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		p.ads.mu.Lock()
		defer p.ads.mu.Unlock()
		if typ := p.ads.streams[p.node].types[envoy.ClusterType]; typ == nil || !typ.names["to/"+addr] {
			return fmt.Errorf("%s has not asked for %s", p.name, addr)
		}
		return nil
	})
}

// TestDestinations connects to addresses that have no listener: the connection waits for the cluster, goes
// to a pod over mutual TLS also in Strict mode, and to anything else untouched, whoever speaks first.
func TestDestinations(t *testing.T) {
	m := newMesh(t)
	m.common = onDemand()
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Strict: true, Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, nil)
	hails(server.listen(t, ":7000"), "server")
	serve(t, server.listen(t, ":8080"), "server")
	bare := m.wire.plug(t, "198.18.9.12", false)
	hails(bare.listen(t, ":7000"), "bare")
	from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, nil)
	held := m.account("server")

	for _, c := range []struct {
		addr, want string
		cluster    envoy.Resource
	}{
		{"198.18.9.11:7000", "hello from server\n", toPod("198.18.9.11:7000", "server")},
		{"198.18.9.12:7000", "hello from bare\n", through("198.18.9.12:7000")},
	} {
		k := from.talk(t, c.addr)
		from.asked(t, c.addr)
		held = append(held, c.cluster)
		from.hold(t, held)
		k.SetDeadline(time.Now().Add(10 * time.Second))
		if line, err := k.r.ReadString('\n'); err != nil || line != c.want {
			t.Errorf("%s: %q, %v", c.addr, line, err)
		}
	}
	if n := server.stat(t, "listener.*ssl.handshake"); n != 1 {
		t.Errorf("%d handshakes at the server, want 1", n)
	}

	// HTTP at the pod's own address.
	held = append(held, toPod("198.18.9.11:8080", "server"))
	from.hold(t, held)
	if a := get(t, client(from.netns), "http://198.18.9.11:8080/", nil); a.status != 200 || a.echo.Pod != "server" {
		t.Errorf("HTTP: status %d from %q", a.status, a.echo.Pod)
	}

	// A pod of another account has come to the address: it is not spoken to.
	held = concat(m.account("server"), m.account("other"), []envoy.Resource{toPod("198.18.9.11:7000", "other")})
	from.hold(t, held)
	k := from.talk(t, "198.18.9.11:7000")
	k.SetDeadline(time.Now().Add(10 * time.Second))
	if line, err := k.r.ReadString('\n'); err == nil {
		t.Errorf("with another account: %q", line)
	}
	if from.stat(t, "ssl.fail_verify_san") == 0 {
		t.Error("the account was not what failed")
	}
}

// TestDestinationOfService reaches the pods of a Service by an address that is none of theirs: a load
// balancer's or a node port.
func TestDestinationOfService(t *testing.T) {
	m := newMesh(t)
	m.common = onDemand()
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Strict: true}, nil)
	echoes(server.listen(t, ":7000"), "server")
	bare := m.wire.plug(t, "198.18.9.12", false)
	echoes(bare.listen(t, ":7000"), "bare")
	from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, nil)

	const addr = "198.19.9.9:30080"
	key := model.PortKey{Service: model.Key{Namespace: "shop", Name: "web"}, Port: 80}
	hold := func(d model.Destination, accounts ...string) {
		t.Helper()
		d.Addr, d.Service, d.Endpoints.Key = netip.MustParseAddrPort(addr), key, key
		p := model.Peers{Service: key.Service, Roots: m.pki.roots()}
		for _, a := range accounts {
			p.Identities = append(p.Identities, names.SPIFFE{TrustDomain: trustDomain, Namespace: "shop", ServiceAccount: a}.String())
		}
		from.hold(t, []envoy.Resource{envoy.DestinationCluster(d), envoy.Endpoints(d.Endpoints), envoy.PeerSecret(p)})
	}
	first := from.talk(t, addr)
	from.asked(t, addr)
	hold(model.Destination{Transport: model.MeshOnly, Endpoints: model.Endpoints{List: []model.Endpoint{meshed("198.18.9.11", 7000)}}}, "server")
	if line, err := first.say("one"); err != nil || line != "server one\n" {
		t.Fatalf("%q, %v", line, err)
	}
	// The Service gets an endpoint without a proxy: the connection stands, and new ones reach both.
	hold(model.Destination{Transport: model.Mixed, Endpoints: model.Endpoints{List: []model.Endpoint{meshed("198.18.9.11", 7000), plain("198.18.9.12", 7000)}}}, "server")
	seen := map[string]bool{}
	for range 4 {
		line, err := from.talk(t, addr).say("two")
		if err != nil {
			t.Fatal(err)
		}
		seen[line] = true
	}
	if !seen["server two\n"] || !seen["bare two\n"] {
		t.Errorf("answers came from %v, want both", seen)
	}
	if line, err := first.say("three"); err != nil || line != "server three\n" {
		t.Errorf("the connection that stood: %q, %v", line, err)
	}
}

// TestDestinationOfMorePorts reaches a port of a Service that has no listener: over mutual TLS to the server at the
// original destination, which may be any pod of the Service and no other.
func TestDestinationOfMorePorts(t *testing.T) {
	m := newMesh(t)
	m.common = onDemand()
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Strict: true}, nil)
	echoes(server.listen(t, ":7000"), "server")
	from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, nil)
	const addr = "198.18.9.11:7000"
	service := model.Key{Namespace: "shop", Name: "web"}
	hold := func(accounts ...string) {
		t.Helper()
		p := model.Peers{Service: service, Roots: m.pki.roots()}
		for _, a := range accounts {
			p.Identities = append(p.Identities, names.SPIFFE{TrustDomain: trustDomain, Namespace: "shop", ServiceAccount: a}.String())
		}
		d := model.Destination{Addr: netip.MustParseAddrPort(addr), Service: model.PortKey{Service: service, Port: 7000}, Transport: model.MeshOnly, Original: true}
		from.hold(t, []envoy.Resource{envoy.DestinationCluster(d), envoy.PeerSecret(p)})
	}
	first := from.talk(t, addr)
	from.asked(t, addr)
	hold("other", "server")
	if line, err := first.say("one"); err != nil || line != "server one\n" {
		t.Fatalf("%q, %v", line, err)
	}
	hold("other")
	if line, err := from.talk(t, addr).say("two"); err == nil {
		t.Errorf("a server that is none of the Service's answered %q", line)
	}
}

// TestDestinationReplaced: neither another cluster for a destination, nor its going, touches connections
// that stand; and after it went the proxy asks again.
func TestDestinationReplaced(t *testing.T) {
	m := newMesh(t)
	m.common = onDemand()
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{}, nil)
	echoes(server.listen(t, ":7000"), "server")
	from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, m.account("server"))
	handshakes := func(want int) {
		t.Helper()
		if n := server.stat(t, "listener.*ssl.handshake"); n != want {
			t.Errorf("%d handshakes at the server, want %d", n, want)
		}
	}
	const addr = "198.18.9.11:7000"
	var all []*talk
	begin := func() {
		t.Helper()
		all = append(all, from.talk(t, addr))
	}
	check := func() {
		t.Helper()
		for i, k := range all {
			if line, err := k.say("x"); err != nil || line != "server x\n" {
				t.Errorf("connection %d: %q, %v", i, line, err)
			}
		}
	}
	begin()
	from.asked(t, addr)
	from.hold(t, append(m.account("server"), through(addr)))
	check()
	handshakes(0)
	from.hold(t, append(m.account("server"), toPod(addr, "server")))
	begin()
	check()
	handshakes(1)
	// Gone. Envoy keeps the secret that the cluster had asked for.
	from.ads.set(t, from.node, append(slices.Clone(from.own), m.account("server")...))
	eventually(t, 10*time.Second, func() error {
		b, err := from.get("/clusters")
		if err == nil && strings.Contains(string(b), "to/"+addr) {
			err = errors.New("the cluster is still there")
		}
		return err
	})
	check()
	begin() // waits for an answer again
	from.ads.set(t, from.node, append(slices.Clone(from.own), append(m.account("server"), toPod(addr, "server"))...))
	check()
	handshakes(2)
}

// TestDestinationClosed: a pod's address for which the control plane has no place: new connections are closed and
// nothing reaches the pod, also in Permissive mode. Connections that stand stay, and new ones work when there is a place.
func TestDestinationClosed(t *testing.T) {
	m := newMesh(t)
	m.common = onDemand()
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{}, nil)
	echoes(server.listen(t, ":7000"), "server")
	from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, m.account("server"))
	const addr = "198.18.9.11:7000"
	closed := envoy.DestinationCluster(model.Destination{Addr: netip.MustParseAddrPort(addr), Closed: true})
	refused := func() {
		t.Helper()
		k := from.talk(t, addr)
		if line, err := k.say("x"); err == nil {
			t.Errorf("answered %q", line)
		} else if err, ok := errors.AsType[net.Error](err); ok && err.Timeout() {
			t.Error("the connection hangs")
		}
	}
	answered := func(k *talk) {
		t.Helper()
		if line, err := k.say("x"); err != nil || line != "server x\n" {
			t.Errorf("%q, %v", line, err)
		}
	}
	first := from.talk(t, addr)
	from.asked(t, addr)
	from.hold(t, append(m.account("server"), closed))
	if line, err := first.say("x"); err == nil {
		t.Errorf("answered %q", line)
	}
	refused()
	reached := func(want int) {
		t.Helper()
		if n := server.stat(t, `^listener\..*15006\.downstream_cx_total`); n != want {
			t.Errorf("%d connections reached the server, want %d", n, want)
		}
	}
	reached(0)
	from.hold(t, append(m.account("server"), toPod(addr, "server")))
	stands := from.talk(t, addr)
	answered(stands)
	reached(1)
	from.hold(t, append(m.account("server"), closed))
	refused()
	answered(stands)
	reached(1)
}
