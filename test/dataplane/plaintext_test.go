// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// TestPlaintextIsReported: the control plane hears from which addresses the pod's own inbound listener took
// plaintext, also of the time in which it was away. Prometheus does not get the addresses.
func TestPlaintextIsReported(t *testing.T) {
	p := newPod(t)
	in := envoy.Inbound(model.Inbound{
		Pod: model.Key{Namespace: "shop", Name: "cart-0"}, Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}},
	})
	scope := protocol.Scope{Listeners: []string{in.Name, names.Outbound}, Proxy: &protocol.Proxy{Drain: protocol.Duration(2 * time.Second)}}
	for _, r := range envoy.Common(model.Settings{}) {
		if r.TypeURL == envoy.ClusterType {
			scope.Clusters = append(scope.Clusters, r.Name)
			p.control.put(r.Name, "2", r.Message)
		}
	}
	p.control.put(in.Name, "2", in.Message)
	p.control.putScope(names.ScopeSidecar("shop", "cart-0"), "2", scope)
	p.start("a")
	p.hook("a", "wait")

	ask := func(times int) {
		t.Helper()
		c := client(p.peer, 1000, true)
		for range times {
			if _, _, err := get(c, fromPeer, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	reported := func(n uint64) {
		t.Helper()
		p.eventually(fmt.Sprintf("%d requests are reported", n), 4*protocol.ReportEvery, func() bool {
			got := p.control.told("a").Plaintext
			return len(got) == 1 && got[peerIP] == n
		})
	}
	ask(3)
	reported(3)
	p.control.stop()
	ask(4)
	p.control.start()
	reported(7)

	metrics, _, err := get(client(p.peer, 0, false), fmt.Sprintf("http://%s:%d/metrics", podIP, names.PortAgent), "")
	if err != nil || !strings.Contains(metrics, "envoy_server_live") || strings.Contains(metrics, peerIP) {
		t.Errorf("metrics with an address of a client, or none: %v\n%s", err, metrics)
	}
}
