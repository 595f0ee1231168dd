// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/pipeline"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// What clients without a proxy get, and what proxies get for addresses that have no listener, is made when
// they ask for it: thousands of Services and pods cost nothing twice, and nothing where nothing asks. The
// server tells which subscriptions have changed, and the goroutine that owns the graph looks who subscribes
// then. Meanwhile a client without a proxy is told neither that there is such a Service nor that there is
// none (see xds, ResumeGrace), and an agent waits.

// asked is what clients may have begun or ceased to ask for. Safe for concurrent use.
type asked struct {
	news chan struct{} // capacity 1: there may be something in targets or dialled

	mu      sync.Mutex
	targets map[names.Target]struct{} // guarded by mu
	// dialled are addresses by the namespace of the proxy that asks for them, and those that a proxy may have
	// ceased to ask for, without a namespace. Guarded by mu.
	dialled map[string]*turns
}

// dialsAtOnce is how many addresses of a namespace one look takes. A namespace whose proxies ask for thousands at once
// holds up neither other namespaces, whose connections wait for a second at most, nor changes of the cluster.
const dialsAtOnce = 500

// turns are addresses, each once, in the order in which they came.
type turns struct {
	list []netip.AddrPort
	has  map[netip.AddrPort]struct{}
}

func newAsked() *asked {
	return &asked{news: make(chan struct{}, 1), targets: map[names.Target]struct{}{}, dialled: map[string]*turns{}}
}

// touch notes those of the keys that are made when they are asked for.
func (a *asked) touch(keys []xds.Key) {
	for _, k := range keys {
		a.note("", k.TypeURL, k.Name)
	}
	a.tell()
}

// dial notes at once what a proxy asks for: connections wait for it.
func (a *asked) dial(p xds.Principal, url string, list []string) {
	if url != envoy.ClusterType {
		return
	}
	c, _ := p.(connected)
	for _, name := range list {
		a.note(c.Namespace, url, name)
	}
	a.tell()
}

func (a *asked) note(namespace, url, name string) {
	switch {
	case url == envoy.ListenerType:
		if t, err := names.ParseTarget(name); err == nil {
			a.mu.Lock()
			a.targets[t] = struct{}{}
			a.mu.Unlock()
		}
	case url == envoy.ClusterType && names.IsDestination(name):
		if d, err := names.ParseDestination(name); err == nil {
			a.mu.Lock()
			if a.dialled[namespace] == nil {
				a.dialled[namespace] = &turns{has: map[netip.AddrPort]struct{}{}}
			}
			a.dialled[namespace].add(d)
			a.mu.Unlock()
		}
	}
}

func (t *turns) add(d netip.AddrPort) {
	if _, twice := t.has[d]; !twice {
		t.has[d] = struct{}{}
		t.list = append(t.list, d)
	}
}

// take returns the next addresses, and whether there are more.
func (t *turns) take() (next []netip.AddrPort, more bool) {
	n := min(len(t.list), dialsAtOnce)
	next, t.list = t.list[:n], t.list[n:]
	for _, d := range next {
		delete(t.has, d)
	}
	return next, len(t.list) > 0
}

func (a *asked) tell() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.targets)+len(a.dialled) == 0 {
		return
	}
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// look tells of what was noted, of each namespace the next addresses, whether something asks for it now, and of
// addresses the namespaces of the proxies that do. If there is more, there is news.
func (a *asked) look(subscribers status.Acks) (in pipeline.Inputs) {
	a.mu.Lock()
	notedTargets, notedDialled := a.targets, map[netip.AddrPort]struct{}{}
	a.targets = map[names.Target]struct{}{}
	for namespace, t := range a.dialled {
		next, more := t.take()
		for _, d := range next {
			notedDialled[d] = struct{}{}
		}
		if !more {
			delete(a.dialled, namespace)
		}
	}
	a.mu.Unlock()
	a.tell()
	in.Asked, in.Dialled = make(map[names.Target]bool, len(notedTargets)), make(map[netip.AddrPort]bool, len(notedDialled))
	in.Dialers = make(map[netip.AddrPort][]string, len(notedDialled))
	for t := range notedTargets {
		n, _, _ := subscribers.Acks(xds.Key{TypeURL: envoy.ListenerType, Name: t.String()})
		in.Asked[t] = n > 0
	}
	for d := range notedDialled {
		from := map[string]struct{}{}
		subscribers.Subscribers(xds.Key{TypeURL: envoy.ClusterType, Name: names.Destination(d)}, func(s xds.Subscriber) bool {
			c, _ := s.Principal.(connected)
			from[c.Namespace] = struct{}{}
			return true
		})
		in.Dialled[d] = len(from) > 0
		in.Dialers[d] = slices.Sorted(maps.Keys(from))
	}
	return in
}

// applyAsked has the graph make what is asked for. It is called by the goroutine that calls apply.
func (f *feed) applyAsked(subscribers status.Acks) error {
	return f.publish(f.graph.Apply(nil, f.asked.look(subscribers)))
}

// rename gives a client without a proxy the listener that is made for clients in its place.
func rename(p xds.Principal, k xds.Key) xds.Key {
	if c, ok := p.(connected); ok && c.Kind == names.KindClient && k.TypeURL == envoy.ListenerType {
		k.Name = names.Target{Namespace: c.Namespace, Node: c.Node, Host: k.Name}.String()
	}
	return k
}
