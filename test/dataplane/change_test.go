// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"tulle.dev/tulle/internal/dataplane/envoy"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// config asks the pod which configuration it routes by.
func (p *pod) config() string {
	_, version, err := get(client(p.space, 1000, false), fromPod, "X-Config")
	if err != nil {
		return err.Error()
	}
	return version
}

func TestChange(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	if acks, nacks := p.control.answers(web, "1"); acks == 0 || len(nacks) > 0 {
		t.Errorf("the first version of %s: %d ACKs, NACKs %q", web, acks, nacks)
	}

	p.control.put(web, "2", route("v2"))
	took := p.eventually("v2 is in use", 5*time.Second, func() bool { return p.config() == "v2" })
	t.Logf("a route change took %v", took)
	p.eventually("v2 is acknowledged", 5*time.Second, func() bool { n, _ := p.control.answers(web, "2"); return n == 1 })

	p.control.put(web, "3", badRoute())
	p.eventually("Envoy's refusal has come up", 5*time.Second, func() bool { _, n := p.control.answers(web, "3"); return len(n) > 0 })
	acks, nacks := p.control.answers(web, "3")
	if acks > 0 || !strings.Contains(nacks[0], web) || !strings.Contains(nacks[0], "missing )") {
		t.Errorf("bad route: %d ACKs, NACK %q; want Envoy's words and the name", acks, nacks)
	}
	if v := p.config(); v != "v2" {
		t.Errorf("after a refused change the pod routes by %q, want v2", v)
	}
	// A new Envoy gets the last good version, not the bad one.
	p.killEnvoy("a")
	if v := p.config(); v != "v2" {
		t.Errorf("a new Envoy routes by %q, want v2", v)
	}
	p.control.put(web, "4", route("v4"))
	p.eventually("v4 is in use", 5*time.Second, func() bool { return p.config() == "v4" })
}

// killEnvoy kills a slot's Envoy and waits until another serves.
func (p *pod) killEnvoy(slot string) time.Duration {
	p.t.Helper()
	old := p.envoyPID(slot)
	kill(p.t, old)
	return p.eventually("another Envoy serves", 10*time.Second, func() bool {
		pid := p.envoyPID(slot)
		return pid != old && pid != 0 && p.state(slot).Phase == protocol.PhaseReady && p.serving()
	})
}

func (p *pod) serving() bool {
	_, _, err := get(client(p.peer, 0, false), "http://"+podIP+":15021/ready", "")
	return err == nil
}

func TestScopeChange(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	own := protocol.Scope{
		Include: []string{names.ScopeNamespace("shop")}, Proxy: &protocol.Proxy{Drain: protocol.Duration(2 * time.Second), LogLevel: "info"},
		Clusters: []string{names.Blackhole, names.InboundHTTP1, names.Passthrough}, Listeners: []string{names.Inbound("shop", "cart-0"), names.Outbound},
	}

	// The Service leaves the scope: its listener and cluster leave Envoy.
	p.control.putScope(names.ScopeNamespace("shop"), "2", protocol.Scope{})
	p.eventually("Envoy has lost the cluster", 5*time.Second, func() bool { return !strings.Contains(p.admin("/clusters"), web) })
	if l := p.admin("/listeners"); strings.Contains(l, web) {
		t.Errorf("the cluster has left before the listener: %s", l)
	}
	// It comes back, with one more that does not exist.
	p.control.putScope(names.ScopeNamespace("shop"), "3", protocol.Scope{Clusters: []string{web, "out/shop/none/1"}, Listeners: []string{web, "out/shop/none/1"}})
	p.eventually("the Service is back", 10*time.Second, func() bool { return p.config() == "v1" })

	// The scope that is included does not exist: what it named leaves; the rest stays.
	p.control.remove(protocol.ScopeType, names.ScopeNamespace("shop"))
	p.eventually("Envoy has lost the cluster", 5*time.Second, func() bool { return !strings.Contains(p.admin("/clusters"), web) })
	// The control plane does not know this proxy any more: it keeps what it has.
	p.control.remove(protocol.ScopeType, names.ScopeSidecar("shop", "cart-0"))
	p.eventually("the removal is acknowledged", 5*time.Second, func() bool { n, _ := p.control.answers(names.ScopeSidecar("shop", "cart-0"), "-"); return n > 0 })
	if _, _, err := get(client(p.peer, 0, false), fromPeer, ""); err != nil {
		t.Errorf("a proxy whose scope was removed stopped serving: %v", err)
	}
	// Garbage is refused, and changes nothing.
	p.control.set(protocol.ScopeType, &discoveryv3.Resource{
		Name: names.ScopeSidecar("shop", "cart-0"), Version: "x", Resource: &anypb.Any{TypeUrl: protocol.ScopeType, Value: []byte("{")},
	})
	p.eventually("the garbage is refused", 5*time.Second, func() bool { _, n := p.control.answers(names.ScopeSidecar("shop", "cart-0"), "x"); return len(n) > 0 })
	// The log level is changed live.
	p.control.putScope(names.ScopeSidecar("shop", "cart-0"), "4", own)
	p.eventually("Envoy logs at info", 5*time.Second, func() bool {
		return strings.Contains(p.levels(), "main: info")
	})
}

// admin asks the pod's Envoy through the program in the image.
func (p *pod) admin(path string) string {
	p.t.Helper()
	out, err := p.container(names.ProxyUID, protocol.ProxyCommand, "admin", "GET", path).CombinedOutput()
	if err != nil {
		p.t.Fatalf("admin %s: %v\n%s", path, err, out)
	}
	return string(out)
}

// levels are the levels of Envoy's loggers; only root can ask for them, on the socket.
func (p *pod) levels() string {
	var b strings.Builder
	if err := envoy.NewAdmin(p.path(protocol.AdminSocket("a"))).Raw(p.t.Context(), "POST", "/logging", &b); err != nil {
		p.t.Error(err)
	}
	return b.String()
}
