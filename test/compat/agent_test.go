// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package compat

import (
	"log/slog"
	"time"

	"tulle.dev/tulle/internal/dataplane/relay"
	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// refusal is what the Envoy of these tests says of the second version of a listener.
const refusal = "listener refused: for the sake of the test"

// agent is a real relay, with an Envoy that takes everything but a listener's second version. It is
// synchronous: what it has to send is in up when a method returns.
type agent struct {
	core *relay.Core
	now  time.Time
	// up are the requests to the control plane, as bytes.
	up [][]byte
	// down are the responses to Envoy that Envoy has not seen yet.
	down []*wire.Response
	// holds is what Envoy took, by type and name; refused what it did not.
	holds, refused map[string][]byte
	busy           bool
}

func newAgent(version string) *agent {
	a := &agent{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), holds: map[string][]byte{}, refused: map[string][]byte{}}
	node := wire.Node("sidecar.shop.web.0b7a", "web.shop", map[string]string{
		protocol.MetaVersion: version, protocol.MetaEnvoy: "1.39.3", protocol.MetaSlot: "a", protocol.MetaKind: names.KindSidecar,
	})
	a.core = relay.NewCore(names.ScopeSidecar("shop", "web"), node, a, slog.New(slog.DiscardHandler))
	a.core.EnvoyOpen(a.now)
	a.ask(&wire.Request{TypeURL: wire.ClusterType})
	a.ask(&wire.Request{TypeURL: wire.ListenerType})
	return a
}

// Upstream, Envoy and Proxy are the relay's output.

func (a *agent) Upstream(r *wire.Request) { a.up = append(a.up, r.Marshal()) }
func (a *agent) Envoy(r *wire.Response)   { a.down = append(a.down, r) }
func (a *agent) Proxy(protocol.Proxy)     {}

func (a *agent) open() {
	a.core.UpstreamClosed(a.now)
	a.core.UpstreamOpen(a.now)
	a.settle()
}

// take is a response of the control plane.
func (a *agent) take(b []byte) error {
	r, err := wire.ParseResponse(b)
	if err != nil {
		return err
	}
	a.core.UpstreamResponse(a.now, r)
	a.settle()
	return nil
}

func (a *agent) ask(r *wire.Request) { a.core.EnvoyRequest(a.now, r) }

// settle lets Envoy answer until it has nothing more to answer.
func (a *agent) settle() {
	if a.busy {
		return
	}
	a.busy = true
	defer func() { a.busy = false }()
	for len(a.down) > 0 {
		r := a.down[0]
		a.down = a.down[1:]
		answer := &wire.Request{TypeURL: r.TypeURL, Nonce: r.Nonce}
		for _, x := range r.Resources {
			key := r.TypeURL + " " + x.Name
			if before, ok := a.holds[key]; ok && r.TypeURL == wire.ListenerType && string(before) != string(x.Raw) {
				answer.Error = &wire.Status{Code: 13, Message: refusal}
				a.refused[key] = x.Raw
				continue
			}
			a.holds[key] = x.Raw
		}
		for _, name := range r.Removed {
			delete(a.holds, r.TypeURL+" "+name)
		}
		a.ask(answer)
		// Envoy asks for what the accepted ones name: endpoints and routes have their names here.
		follow := map[string]string{wire.ClusterType: wire.EndpointType, wire.ListenerType: wire.RouteType}[r.TypeURL]
		for _, x := range r.Resources {
			if follow != "" && answer.Error == nil && a.holds[follow+" "+x.Name] == nil {
				a.ask(&wire.Request{TypeURL: follow, Subscribe: []string{x.Name}})
			}
		}
	}
}
