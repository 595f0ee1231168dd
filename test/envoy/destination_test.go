// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
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

func TestDestinationExperiment(t *testing.T) {
	m := newMesh(t)
	m.common = onDemand()
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{}, nil)
	echoes(server.listen(t, ":7000"), "server")
	cl := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, nil)
	addr := netip.MustParseAddrPort("198.18.9.11:7000")
	first := cl.talk(t, addr.String())
	time.Sleep(time.Second)
	plain := []envoy.Resource{envoy.DestinationCluster(model.Destination{Addr: addr})}
	cl.hold(t, plain)
	fmt.Println(first.say("one"))
	fmt.Println("handshakes", server.stat(t, "ssl.handshake"))
	meshed := []envoy.Resource{
		envoy.DestinationCluster(model.Destination{Addr: addr, Account: model.Key{Namespace: "shop", Name: "server"}}),
		envoy.AccountSecret(model.AccountPeer{Account: model.Key{Namespace: "shop", Name: "server"}, Identity: "spiffe://cluster.local/ns/shop/sa/server", Roots: m.pki.roots()}),
	}
	cl.hold(t, meshed)
	fmt.Println(first.say("two"))
	second := cl.talk(t, addr.String())
	fmt.Println(second.say("three"))
	fmt.Println("handshakes", server.stat(t, "ssl.handshake"))
	time.Sleep(2 * time.Second)
	fmt.Println(first.say("four"))
	fmt.Println(second.say("five"))
	// removal
	cl.ads.set(t, cl.node, append(append([]envoy.Resource{}, cl.own...), meshed[1]))
	time.Sleep(4 * time.Second)
	fmt.Println(first.say("six"))
	fmt.Println(second.say("seven"))
	third := cl.talk(t, addr.String())
	time.Sleep(time.Second)
	cl.hold(t, meshed)
	fmt.Println(third.say("eight"))
	fmt.Println(first.say("nine"))
	fmt.Println(second.say("ten"))
	fmt.Println("handshakes", server.stat(t, "ssl.handshake"))
	fmt.Println("handshakes", server.stat(t, "ssl.handshake"))
}
