// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"context"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/protocol"
)

// useRealServer makes the mesh's own ADS server serve what the control plane has, from now on.
func (c *control) useRealServer() {
	c.t.Helper()
	c.stop()
	c.mu.Lock()
	c.store = xds.NewStore(
		xds.Type{URL: protocol.ScopeType, Leading: true}, xds.Type{URL: wire.ClusterType}, xds.Type{URL: wire.EndpointType},
		xds.Type{URL: wire.ListenerType}, xds.Type{URL: wire.RouteType}, xds.Type{URL: wire.SecretType},
	)
	for url, all := range c.resources {
		for name, r := range all {
			c.commit(url, name, r)
		}
	}
	c.mu.Unlock()
	c.start()
}

// commit passes a change to the mesh's own store, with the references that the translator would give it.
func (c *control) commit(url, name string, r *discoveryv3.Resource) {
	if c.store == nil {
		return
	}
	k := xds.Key{TypeURL: url, Name: name}
	change := xds.Remove(k)
	if r != nil {
		x := xds.Resource{Key: k, Version: r.GetVersion(), Body: r.GetResource().GetValue()}
		if name == web {
			switch url {
			case wire.ClusterType:
				x.Companion = xds.Key{TypeURL: wire.EndpointType, Name: web}
			case wire.RouteType:
				x.Needs = []xds.Key{{TypeURL: wire.ClusterType, Name: web}}
			case wire.ListenerType:
				x.Needs = []xds.Key{{TypeURL: wire.ClusterType, Name: web}, {TypeURL: wire.RouteType, Name: web}}
			}
		}
		change = xds.Set(x)
	}
	if _, err := c.store.Commit(change); err != nil {
		c.t.Error(err)
	}
}

func (c *control) realServer(opts ...grpc.ServerOption) *grpc.Server {
	s, err := xds.NewServer(c.store, xds.Options{
		Authenticate: func(context.Context) (xds.Principal, error) { return "cart-0", nil },
		Authorize:    func(xds.Principal, xds.Key) bool { return true },
		OnAck: func(a xds.Ack) {
			c.mu.Lock()
			defer c.mu.Unlock()
			version := a.Version
			if version == "" {
				version = "-"
			}
			c.log = append(c.log, answer{a.Key.TypeURL, map[string]string{a.Key.Name: version}, a.Err})
		},
		Notes: []string{protocol.ReportType}, NoteFields: []string{protocol.MetaReport},
		ResumeGrace: 100 * time.Millisecond,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.real = s
	return s.NewGRPC(opts...)
}

// TestRealServer runs the data plane against the mesh's own ADS server.
func TestRealServer(t *testing.T) {
	p := newPod(t)
	p.control.useRealServer()
	p.start("a")
	p.hook("a", "wait")
	if v := p.config(); v != "v1" {
		t.Fatalf("the pod routes by %q, want v1", v)
	}
	p.eventually("the agent's report is kept", 5*time.Second, func() bool {
		all := p.control.real.Streams()
		return len(all) == 1 && len(all[0].Notes) == 1 && strings.HasPrefix(all[0].Notes[0].Metadata[protocol.MetaReport], `{"phase":"Ready"`)
	})
	p.control.put(web, "2", route("v2"))
	p.eventually("v2 is in use", 5*time.Second, func() bool { return p.config() == "v2" })
	p.eventually("v2 is acknowledged", 5*time.Second, func() bool { n, _ := p.control.answers(web, "2"); return n == 1 })
	p.control.put(web, "3", badRoute())
	p.eventually("Envoy's refusal has come up", 5*time.Second, func() bool { _, n := p.control.answers(web, "3"); return len(n) > 0 })

	// The Service leaves the scope, and comes back.
	p.control.put(web, "4", route("v4"))
	p.control.putScope("scope/namespace/shop", "2", protocol.Scope{})
	p.eventually("Envoy has lost the cluster", 5*time.Second, func() bool { return !strings.Contains(p.admin("/clusters"), web) })
	p.control.putScope("scope/namespace/shop", "3", protocol.Scope{Clusters: []string{web}, Listeners: []string{web}})
	p.eventually("v4 is in use", 10*time.Second, func() bool { return p.config() == "v4" })

	// The cluster is removed and comes back; the endpoints move.
	p.control.remove(wire.ListenerType, web)
	p.control.remove(wire.ClusterType, web)
	p.eventually("Envoy has lost the cluster", 5*time.Second, func() bool { return !strings.Contains(p.admin("/clusters"), web) })
	p.control.put(web, "2", meshCluster(t))
	p.control.put(web, "2", listener(web, vip, 80, webChain(t), false))
	p.eventually("the Service is back", 10*time.Second, func() bool { return p.config() == "v4" })

	// Another replica: the same resources, and nothing is interrupted.
	l := newLoad(p)
	l.during(200)
	p.control.useRealServer()
	p.control.put(web, "5", route("v5"))
	p.eventually("v5 is in use", 10*time.Second, func() bool { return p.config() == "v5" })
	agent := p.agentPID("a")
	kill(t, agent)
	p.eventually("another agent reports", 10*time.Second, func() bool {
		return !alive(agent) && p.state("a").Phase == protocol.PhaseReady && p.serving()
	})
	p.control.put(web, "6", route("v6"))
	p.eventually("v6 is in use", 10*time.Second, func() bool { return p.config() == "v6" })
	l.stop(t)
}
