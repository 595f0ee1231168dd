// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"net/netip"
	"time"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// Result is what one batch changed.
type Result struct {
	Resources []xds.Change
	Routes    []incr.Change[model.Object, status.RouteVerdict]
	Gateways  []incr.Change[model.Key, status.GatewayVerdict]
	Sets      []incr.Change[model.Key, status.ListenerSetVerdict]
	Policies  []incr.Change[model.Object, status.PolicyVerdict]
}

// Inputs beside the cluster's objects. Nil leaves a value as it is.
type Inputs struct {
	Settings *model.Settings
	Roots    *string
	// Now is the time by which verdicts tell that a certificate has ended; nothing else depends on it. It
	// is to be coarse: each new one judges all Gateways with certificates again.
	Now *time.Time
	// Asked is what clients without a proxy ask for (true) or no longer ask for.
	Asked map[names.Target]bool
	// Dialled are addresses without a listener that proxies ask for (true) or no longer ask for.
	Dialled map[netip.AddrPort]bool
	// Dialers are the namespaces of the proxies that ask for an address in Dialled. They share the number of
	// destinations that there may be.
	Dialers map[netip.AddrPort][]string
}

// Apply propagates a batch of events in one pass and returns what it changed.
// Events of kinds that the graph does not read, such as Mesh, are ignored: the caller turns those into Inputs.
func (g *Graph) Apply(events []source.Event, more Inputs) Result {
	for _, e := range events {
		g.set(e)
	}
	if more.Settings != nil {
		g.in.settings.Set(one{}, *more.Settings)
	}
	if more.Roots != nil {
		g.in.roots.Set(one{}, *more.Roots)
	}
	if more.Now != nil {
		g.in.clock.Set(one{}, *more.Now)
	}
	for t, asked := range more.Asked {
		if asked {
			g.in.asked.Set(t, one{})
		} else {
			g.in.asked.Delete(t)
		}
	}
	g.dial(more.Dialled, more.Dialers)
	var out Result
	g.evals = map[string]int{}
	g.commit(&out)
	if g.follow() {
		g.commit(&out)
	}
	return out
}

// commit propagates what the inputs have been set to, and adds what changes to the result.
func (g *Graph) commit(out *Result) {
	g.engine.Commit(func() {
		g.dialled.observe(g.in.workloads.Changes())
		for _, c := range g.resources {
			for _, ch := range c.Changes() {
				if ch.Deleted {
					out.Resources = append(out.Resources, xds.Remove(ch.Key))
				} else {
					out.Resources = append(out.Resources, xds.Set(ch.New))
				}
			}
		}
		out.Routes = append(out.Routes, g.verdicts.routes.Changes()...)
		out.Gateways = append(out.Gateways, g.verdicts.gateways.Changes()...)
		out.Sets = append(out.Sets, g.verdicts.sets.Changes()...)
		out.Policies = append(out.Policies, g.verdicts.policies.Changes()...)
	})
	for name, n := range g.engine.Evals() {
		g.evals[name] += n
	}
}

func (g *Graph) set(e source.Event) {
	switch e.Kind {
	case source.Namespace:
		put(g.in.namespaces, e.Key.Name, e.Object)
	case source.Service:
		put(g.in.declared, e.Key, e.Object)
	case source.EndpointSlice:
		put(g.in.slices, e.Key, e.Object)
	case source.Pod:
		put(g.in.workloads, e.Key, e.Object)
	case source.TLSSecret:
		put(g.in.secrets, e.Key, e.Object)
	case source.GatewayClass:
		put(g.in.classes, e.Key.Name, e.Object)
	case source.Gateway:
		put(g.in.gateways, e.Key, e.Object)
	case source.ListenerSet:
		put(g.in.listenerSets, e.Key, e.Object)
	case source.ReferenceGrant:
		put(g.in.grants, e.Key, e.Object)
	case source.CAConfigMap, source.ClusterTrustBundle:
		put(g.in.bundles, e.Key, e.Object)
	default:
		if k, ok := policy.KindOf(string(e.Kind)); ok {
			incr.Put(g.in.policies, idOf(e), e.Object, k.Parse)
		}
		if k, ok := gatewayapi.RouteKindOf(string(e.Kind)); ok {
			incr.Put(g.in.routes, idOf(e), e.Object, k.Parse)
		}
	}
}

func idOf(e source.Event) model.Object {
	return model.Object{Kind: string(e.Kind), Namespace: e.Key.Namespace, Name: e.Key.Name}
}

func put[K comparable, V any](c *incr.Collection[K, V], k K, object any) {
	incr.Put(c, k, object, func(o any) V { return o.(V) })
}

// Failures are the functions that failed and whose last good values are kept.
func (g *Graph) Failures() []incr.Failure { return g.engine.Failures() }

// Evals counts the functions that the last Apply ran, by collection.
func (g *Graph) Evals() map[string]int { return g.evals }
