// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"testing"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
)

// node is a node in a zone; empty: without one.
func node(name, zone string) source.Event {
	return event(source.Node, "", name, model.NodeZone{Name: name, Zone: zone})
}

// changed are events whose endpoints are changed, by the name of their pod.
func changed(events []source.Event, change func(pod string, e *model.SliceEndpoint)) []source.Event {
	var out []source.Event
	for _, e := range events {
		if s, ok := e.Object.(model.Slice); ok {
			s.Endpoints = append([]model.SliceEndpoint(nil), s.Endpoints...)
			for i := range s.Endpoints {
				change(s.Endpoints[i].Pod.Name, &s.Endpoints[i])
			}
			e.Object = s
		}
		out = append(out, e)
	}
	return out
}

// TestProxylessTopology: gRPC's own client stays in its zone and on its node as the hints say, falls back
// as kube-proxy does, and goes where its node's label says that it is by now; without a failed call.
func TestProxylessTopology(t *testing.T) {
	p := newPlane(t)
	v1, v2 := p.backend("shop", "v1", "web"), p.backend("shop", "v2", "web")
	service := p.service("shop", "web", map[string]backend{"v1": v1, "v2": v2})
	zones := map[string]string{"v1": "z1", "v2": "z2"}
	zoned := func(more func(pod string, e *model.SliceEndpoint)) []source.Event {
		return changed(service, func(pod string, e *model.SliceEndpoint) {
			e.Zone, e.Hints = zones[pod], &model.Hints{Zones: []string{zones[pod]}}
			if more != nil {
				more(pod, e)
			}
		})
	}
	p.send(append(service, node("n1", "z1"))...)
	conn := p.dial(p.program("bank", "batch-0"), "web.shop:80", false)
	both := func(why string) {
		t.Helper()
		seen := map[string]bool{}
		answered(t, conn, why, func(by string) bool { seen[by] = true; return len(seen) == 2 })
	}
	only := func(name, why string) {
		t.Helper()
		answered(t, conn, why, func(by string) bool { return by == name })
	}
	both("without hints both answer")
	stop := steady(conn)
	p.send(zoned(nil)...)
	only("v1", "the client stays in z1")
	p.send(zoned(func(pod string, e *model.SliceEndpoint) { e.Ready, e.Serving = pod != "v1", pod != "v1" })...)
	only("v2", "no endpoint for z1 is ready")
	p.send(zoned(nil)...)
	only("v1", "the client is back in z1")
	p.send(node("n1", "z2"))
	only("v2", "the node is in z2")
	p.send(zoned(func(pod string, e *model.SliceEndpoint) {
		e.Hints.Nodes = map[string][]string{"v1": {"n1"}, "v2": {"n2"}}[pod]
	})...)
	only("v1", "hints for nodes come first")
	p.send(zoned(func(pod string, e *model.SliceEndpoint) { e.Hints.Nodes = map[string][]string{"v1": {"n1"}}[pod] })...)
	only("v2", "not every endpoint has one")
	p.send(event(source.Node, "", "n1", nil))
	both("the client's zone is not known")
	p.send(append(zoned(nil), node("n1", "z1"))...)
	only("v1", "it is again")
	p.send(zoned(func(pod string, e *model.SliceEndpoint) {
		if pod == "v2" {
			e.Hints = nil
		}
	})...)
	both("not every endpoint has a hint for zones")
	if n, err := stop(); err != nil || n < 100 {
		t.Errorf("of %d calls some failed: %v", n, err)
	}
}
