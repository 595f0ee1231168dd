// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// echo serves lines at a port of the peer, in plaintext, each answered with the port.
func (p *pod) echo(port int) {
	p.t.Helper()
	l, err := p.peer.listen(0, fmt.Sprintf("%s:%d", peerIP, port))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					fmt.Fprintf(c, "%d %s", port, line)
				}
			}()
		}
	}()
}

// say sends a line on a connection of the pod and wants it back.
func (p *pod) say(c net.Conn, port int, line string) {
	p.t.Helper()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintln(c, line)
	got, err := bufio.NewReader(c).ReadString('\n')
	if want := fmt.Sprintf("%d %s\n", port, line); err != nil || got != want {
		p.t.Errorf("port %d: %q, %v, want %q", port, got, err, want)
	}
}

func (p *pod) dialPeer(port int) net.Conn {
	p.t.Helper()
	c, err := p.space.dialer(1000)(context.Background(), "tcp", fmt.Sprintf("%s:%d", peerIP, port))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// onDemand has the scope add the chain of destinations that have no listener.
func (p *pod) onDemand(version string) {
	p.t.Helper()
	b, err := proto.Marshal(envoy.DemandChain(model.DemandChain{Name: "on-demand", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15")}}))
	if err != nil {
		p.t.Fatal(err)
	}
	p.control.putScope(names.ScopeNamespace("shop"), version, protocol.Scope{Clusters: []string{web}, Listeners: []string{web}, OutboundChains: [][]byte{b}})
}

// servicePort is a port of the peer's address that stands for a node port: nothing listens there.
const servicePort = 9005

func to(port int) string { return fmt.Sprintf("to/%s:%d", peerIP, port) }

// toWeb is the cluster of the peer's server, which speaks mutual TLS.
func toWeb(t *testing.T, port int) *clusterv3.Cluster {
	c := meshCluster(t)
	c.Name = to(port)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST}
	c.EdsClusterConfig = nil
	c.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
	return c
}

// TestDestinations connects the pod to addresses that have no listener, with the agent and the real Envoy:
// before the control plane supports it, after, without its answer, without it, and across a new agent.
func TestDestinations(t *testing.T) {
	p := newPod(t)
	for _, port := range []int{9001, 9002, 9003, 9004} {
		p.echo(port)
	}
	p.start("a")
	p.hook("a", "wait")

	// A control plane that has no chains: as it was.
	first := p.dialPeer(9001)
	p.say(first, 9001, "as it was")
	if strings.Contains(p.admin("/clusters"), "to/") {
		t.Error("Envoy has a cluster on demand without having been told to")
	}

	// With chains. The connection that stands is not touched; the control plane says that there is no such cluster.
	p.onDemand("2")
	p.eventually("the chain is in use", 10*time.Second, func() bool {
		return strings.Contains(p.admin("/config_dump?resource=dynamic_listeners"), `"on-demand"`)
	})
	second := p.dialPeer(9002)
	p.say(second, 9002, "asked")
	p.say(first, 9001, "still")
	if !strings.Contains(p.admin("/clusters"), to(9002)) {
		t.Error("Envoy has not asked for the destination")
	}

	// What the control plane has is used: the peer's server wants mutual TLS.
	p.control.put(to(webPort), "1", toWeb(t, webPort))
	url := fmt.Sprintf("http://%s:%d/", peerIP, webPort)
	body, _, err := get(client(p.space, 1000, false), url, "")
	if want := "web saw " + spiffe("cart"); err != nil || body != want {
		t.Errorf("over mutual TLS: %q, %v, want %q", body, err, want)
	}

	// A Service's port has endpoints that Envoy holds already and does not ask for again: neither for a new
	// cluster nor for one that changes does a connection wait for them.
	service := meshCluster(t)
	for _, version := range []string{"1", "2"} {
		service.Name, service.AltStatName = to(servicePort), "v"+version
		p.control.put(to(servicePort), version, service)
		began := time.Now()
		body, _, err := get(client(p.space, 1000, false), fmt.Sprintf("http://%s:%d/", peerIP, servicePort), "")
		if want := "web saw " + spiffe("cart"); err != nil || body != want {
			t.Errorf("a Service's destination, version %s: %q, %v, want %q", version, body, err, want)
		}
		p.eventually("it is in use", 10*time.Second, func() bool {
			n, _ := p.control.answers(to(servicePort), version)
			return n > 0 && strings.Contains(p.admin("/config_dump?resource=dynamic_active_clusters"), `"v`+version+`"`)
		})
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("a Service's destination, version %s, takes %v", version, d)
		}
	}

	// A late answer replaces the agent's own cluster, and cuts nothing.
	p.control.put(to(9002), "1", toWeb(t, 9002))
	p.eventually("the answer is in use", 10*time.Second, func() bool { n, _ := p.control.answers(to(9002), "1"); return n > 0 })
	p.say(second, 9002, "not cut")

	// Without a control plane, and then with it again.
	p.control.stop()
	began := time.Now()
	third := p.dialPeer(9003)
	p.say(third, 9003, "alone")
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("without a control plane a connection waits %v", d)
	}
	p.control.start()

	// A new agent finds what Envoy has, and Envoy asks it for more.
	envoy, agent := p.envoyPID("a"), p.agentPID("a")
	kill(t, agent)
	p.eventually("another agent reports", 20*time.Second, func() bool {
		return !alive(agent) && p.state("a").Phase == protocol.PhaseReady && p.serving()
	})
	if now := p.envoyPID("a"); now != envoy {
		t.Errorf("Envoy %d became %d", envoy, now)
	}
	p.say(p.dialPeer(9004), 9004, "after")
	for i, c := range []net.Conn{first, second, third} {
		p.say(c, 9001+i, "in the end")
	}
	// A control plane without chains, as after a rollback: the listener keeps those that it has, and nothing
	// waits for answers.
	p.control.putScope(names.ScopeNamespace("shop"), "3", protocol.Scope{Clusters: []string{web}, Listeners: []string{web}})
	p.eventually("the scope is in use", 10*time.Second, func() bool { n, _ := p.control.answers(names.ScopeNamespace("shop"), "3"); return n > 0 })
	if !strings.Contains(p.admin("/config_dump?resource=dynamic_listeners"), `"on-demand"`) {
		t.Error("the chain of standing connections has gone with the scope's")
	}
	body, _, err = get(client(p.space, 1000, false), url, "")
	if want := "web saw " + spiffe("cart"); err != nil || body != want {
		t.Errorf("after another agent: %q, %v, want %q", body, err, want)
	}
}
