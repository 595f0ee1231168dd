// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
)

// What large Services of a namespace share is in collections of its own, so that Services are evaluated when their share
// changes, not with each Service that becomes large.

// buildPorts makes the Services that everything else reads: of each the ports that are served.
func (g *Graph) buildPorts() {
	e := &g.engine
	many := incr.Derive(e, "services of many ports", g.in.declared, same[int],
		func(_ *incr.Reader, k model.Key, svc model.Service, emit func(model.Key, int)) {
			if n := svc.Listening(); n > model.SmallPorts {
				emit(k, n)
			}
		})
	byNamespace := incr.NewIndex(many, byKey, func(k model.Key, _ int) []string { return []string{k.Namespace} })
	portsOf := incr.DeriveKeys(e, "ports of services", same[int],
		func(r *incr.Reader, namespace string, emit func(string, int)) {
			emit(namespace, model.PortsOf(bucket(r, byNamespace, namespace)))
		}, byNamespace)
	g.in.services = incr.Derive(e, "served services", g.in.declared, same[model.Service],
		func(r *incr.Reader, k model.Key, svc model.Service, emit func(model.Key, model.Service)) {
			if svc.Listening() > model.SmallPorts {
				n, _ := incr.Get(r, portsOf, k.Namespace)
				svc = svc.First(n)
			}
			emit(k, svc)
		})
}

// buildPairs makes the shares of pairs of a port and an endpoint.
func (g *Graph) buildPairs() {
	e, s := &g.engine, &g.services
	s.large = incr.Derive(e, "large services", g.in.services, same[one],
		func(r *incr.Reader, k model.Key, svc model.Service, emit func(model.Key, one)) {
			if model.IsLarge(svc, bucket(r, g.ix.slicesByService, k)) {
				emit(k, one{})
			}
		})
	byNamespace := incr.NewIndex(s.large, byKey, func(k model.Key, _ one) []string { return []string{k.Namespace} })
	s.pairsOf = incr.DeriveKeys(e, "pairs of large services", same[int],
		func(r *incr.Reader, namespace string, emit func(string, int)) {
			emit(namespace, model.PairsOf(incr.Count(r, byNamespace, namespace)))
		}, byNamespace)
}

// pairs is how many pairs of a port and an endpoint are used of a Service.
func (g *Graph) pairs(r *incr.Reader, service model.Key) int {
	if _, large := incr.Get(r, g.services.large, service); !large {
		return model.SmallPairs
	}
	n, _ := incr.Get(r, g.services.pairsOf, service.Namespace)
	return n
}

// withinPlaces returns a function that emits endpoints of a Service that may use so many pairs: those of the first ports
// with their places, as far as model.PlacesOf allows. Of the other ports clients follow no hints, and where they may use
// the endpoints of their own node only, they have none. Each way of speaking has places of its own, so that it does not
// depend on the routes of others.
func withinPlaces(pairs int, emit func(model.Endpoints)) func(model.Endpoints) {
	type way struct {
		as  string
		tls bool
	}
	used := map[way]int{}
	return func(l model.Endpoints) {
		w := way{l.As, l.Via.TLS}
		near := len(l.Near)
		if near > 0 && l.Near[0].Place.Gateway {
			near--
		}
		if used[w] += near; near > 0 && used[w] > model.PlacesOf(pairs, w == way{}) {
			l.Near = l.Near[:len(l.Near)-near] // what Gateways must not use is left out whatever is beside it
		}
		emit(l)
	}
}
