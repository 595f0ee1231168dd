// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"sync"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/pipeline"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// What clients without a proxy get is made when they ask for it: thousands of Services cost nothing twice,
// and nothing where there are no such clients. The server tells which subscriptions have changed, and the
// goroutine that owns the graph looks who subscribes then. Meanwhile the client is told neither that there
// is such a Service nor that there is none (see xds, ResumeGrace).

// asked is what clients without a proxy may have begun or ceased to ask for. Safe for concurrent use.
type asked struct {
	news chan struct{} // capacity 1: there may be something in targets

	mu      sync.Mutex
	targets map[names.Target]struct{} // guarded by mu
}

func newAsked() *asked {
	return &asked{news: make(chan struct{}, 1), targets: map[names.Target]struct{}{}}
}

// touch notes those of the keys that clients without a proxy ask for.
func (a *asked) touch(keys []xds.Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range keys {
		if k.TypeURL != envoy.ListenerType {
			continue
		}
		if t, err := names.ParseTarget(k.Name); err == nil {
			a.targets[t] = struct{}{}
		}
	}
	if len(a.targets) == 0 {
		return
	}
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// look tells of everything noted since the last look whether somebody asks for it now.
func (a *asked) look(subscribers status.Acks) map[names.Target]bool {
	a.mu.Lock()
	noted := a.targets
	a.targets = map[names.Target]struct{}{}
	a.mu.Unlock()
	out := make(map[names.Target]bool, len(noted))
	for t := range noted {
		n, _, _ := subscribers.Acks(xds.Key{TypeURL: envoy.ListenerType, Name: t.String()})
		out[t] = n > 0
	}
	return out
}

// applyAsked has the graph make what is asked for. It is called by the goroutine that calls apply.
func (f *feed) applyAsked(subscribers status.Acks) error {
	return f.publish(f.graph.Apply(nil, pipeline.Inputs{Asked: f.asked.look(subscribers)}))
}

// rename gives a client without a proxy the listener that is made for clients in its place.
func rename(p xds.Principal, k xds.Key) xds.Key {
	if c, ok := p.(connected); ok && c.Kind == names.KindClient && k.TypeURL == envoy.ListenerType {
		k.Name = names.Target{Namespace: c.Namespace, Node: c.Node, Host: k.Name}.String()
	}
	return k
}
