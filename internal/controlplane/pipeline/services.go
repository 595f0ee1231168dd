// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// podPort is a pod's own address and port, reached through a headless Service.
type podPort struct {
	pod  model.Key
	port uint16
}

// target is a pod's port that a Service sends to.
type target struct {
	service model.Key
	port    uint16 // the Service's
	pod     podPort
	addr    string
}

func (g *Graph) buildServices() {
	e, s := &g.engine, &g.services

	// What Services need to know of pods: a pod that only turns ready or gets a label is no change.
	members := incr.Derive(e, "members", g.in.workloads, same[model.Workload],
		func(_ *incr.Reader, k model.Key, w model.Workload, emit func(model.Key, model.Workload)) {
			emit(k, model.Workload{
				Key: k, Addresses: w.Addresses, ServiceAccount: w.ServiceAccount, Kind: w.Kind, Gateway: w.Gateway,
				HostNetwork: w.HostNetwork, Ended: w.Ended, ExcludedInboundPorts: w.ExcludedInboundPorts,
			})
		})
	s.byAddress = incr.NewIndex(members, byKey, func(_ model.Key, w model.Workload) []netip.Addr {
		if w.HostNetwork || w.Ended {
			return nil
		}
		return w.Addresses
	})
	g.buildPairs()
	s.resolved = incr.Derive(e, "resolved", g.in.services, same[model.Resolved],
		func(r *incr.Reader, k model.Key, svc model.Service, emit func(model.Key, model.Resolved)) {
			emit(k, model.Resolve(svc, bucket(r, g.ix.slicesByService, k), g.pairs(r, k), func(p model.Key) (model.Workload, bool) {
				return incr.Get(r, members, p)
			}, func(a netip.Addr) (model.Workload, bool) { return g.podAt(r, a) }, g.led(r, k.Namespace)))
		})
	s.fronted = incr.Derive(e, "fronted", g.in.services, same[one],
		func(r *incr.Reader, k model.Key, _ model.Service, emit func(model.Key, one)) {
			ns, _ := incr.Get(r, g.in.namespaces, k.Namespace)
			if !ns.Meshed {
				v, _ := incr.Get(r, s.resolved, k)
				if !slices.ContainsFunc(v.Ports, func(p model.ResolvedPort) bool { return len(p.Members) > 0 }) {
					return
				}
			}
			if !isAPIServer(k) {
				emit(k, one{})
			}
		})
	s.excess = incr.DeriveKeys(e, "excess routes", same[map[model.Object]bool],
		func(r *incr.Reader, on ofObject, emit func(model.Key, map[model.Object]bool)) {
			k := model.Key{Namespace: on.To.Namespace, Name: on.To.Name}
			if excess := gatewayapi.ReadExcessRoutes(g.lookup(r), k); len(excess) > 0 {
				emit(k, excess)
			}
		}, g.ix.routesByService)
	g.buildFirstPolicies()
	g.buildGranted()
	g.buildMeshRoutes()
	s.protocols = incr.Derive(e, "protocols", g.in.services, same[model.Protocol],
		func(r *incr.Reader, k model.Key, svc model.Service, emit func(model.PortKey, model.Protocol)) {
			for _, p := range svc.Ports {
				port := model.PortKey{Service: k, Port: p.Port}
				if proto, ok := gatewayapi.PortProtocol(g.lookup(r), port); ok && p.Protocol != model.UDP {
					emit(port, proto)
				}
			}
		})
	s.served = incr.Derive(e, "served protocols", g.in.services, same[model.Protocol],
		func(r *incr.Reader, k model.Key, svc model.Service, emit func(model.PortKey, model.Protocol)) {
			for _, p := range svc.Ports {
				port := model.PortKey{Service: k, Port: p.Port}
				if proto, ok := gatewayapi.ServedProtocol(g.lookup(r), port); ok && p.Protocol != model.UDP {
					emit(port, proto)
				}
			}
		})
	g.buildMeshParts()
	g.buildTargets()
	g.buildFrontends()
	g.buildBackends()
}

// buildTargets tells, for each pod, which of its ports Services send to, and makes the frontends of
// headless Services: the pods' own addresses.
func (g *Graph) buildTargets() {
	e, s := &g.engine, &g.services
	targets := incr.Derive(e, "targets", s.resolved, same[model.ServicePort],
		func(_ *incr.Reader, k model.Key, v model.Resolved, emit func(target, model.ServicePort)) {
			for _, p := range v.Ports {
				for _, ep := range p.Members {
					emit(target{k, p.Port.Port, podPort{ep.Pod, ep.Addr.Port()}, ep.Addr.Addr().String()}, p.Port)
				}
			}
		})
	s.targetsByPod = incr.NewIndex(targets, byTarget, func(t target, _ model.ServicePort) []model.Key { return []model.Key{t.pod.pod} })
	byPodPort := incr.NewIndex(targets, byTarget, func(t target, _ model.ServicePort) []podPort { return []podPort{t.pod} })
	s.pods = incr.DeriveKeys(e, "pod frontends", same[model.PodFrontend],
		func(r *incr.Reader, k podPort, emit func(podPort, model.PodFrontend)) {
			done := false // of several headless Services the first in order gives the identity to expect: it is the same pod's
			incr.Lookup(r, byPodPort, k, func(t target, _ model.ServicePort) {
				if t.service.Namespace != k.pod.Namespace {
					return // what is written in another namespace changes nothing for the pod's other clients
				}
				if svc, ok := incr.Get(r, g.in.services, t.service); ok && svc.Headless && !done && listed(svc, t.port) {
					done = true
					emit(k, model.PodFrontend{Pod: k.pod, Address: t.addr, Port: k.port, Service: model.PortKey{Service: t.service, Port: t.port}})
				}
			})
		}, byPodPort)
	s.podsByNamespace = incr.NewIndex(s.pods, byPort, func(_ podPort, f model.PodFrontend) []string { return []string{f.Service.Service.Namespace} })
}

// maxPodPorts bounds the ports of a headless Service for which each pod behind it has a listener in every proxy.
// Connections to the others ask for the pod's address (see destinations) and go over mutual TLS as well.
const maxPodPorts = 16

// listed tells whether a port is among the first maxPodPorts of a headless Service.
func listed(svc model.Service, port uint16) bool {
	n := 0
	for _, p := range svc.Ports {
		if p.Protocol == model.UDP {
			continue
		}
		if n++; n > maxPodPorts {
			return false
		}
		if p.Port == port {
			return true
		}
	}
	return false
}

// frontend is a Service port as one kind of clients sees it.
type frontend struct {
	model.Frontend
	table   *model.RouteTable
	streams *model.StreamTable
	ownNode bool // of the Service itself, its clients use the endpoints of their own node: see onOwnNode
}

func (g *Graph) buildFrontends() {
	e, s := &g.engine, &g.services
	g.buildNodes()
	both := incr.Derive(e, "service frontends", g.in.services, same[frontend],
		func(r *incr.Reader, k model.Key, svc model.Service, emit func(string, frontend)) {
			if _, ok := incr.Get(r, s.fronted, k); !ok || len(svc.VIPs) == 0 {
				return
			}
			consumers := append([]string{""}, gatewayapi.MeshConsumers(g.lookup(r), k)...)
			frontendFor := g.frontendsOf(r, svc)
			places := nodePlaces
			for _, p := range svc.Ports {
				if p.Protocol == model.UDP {
					continue
				}
				for _, consumer := range consumers {
					f := frontendFor(p, consumer)
					if !svc.LocalTraffic || consumer != "" {
						emit(f.name(), f)
						continue
					}
					if n := f.places(); n <= places {
						places -= n
						f.Local = true
						emit(f.name(), f)
						incr.Lookup(r, s.nodes, one{}, func(node, _ string) {
							local := f.onNode(node)
							emit(local.name(), local)
						})
						continue
					}
					places = 0 // of the ports, the first ones
					f = f.onOwnNode()
					emit(f.name(), f)
				}
			}
		})
	s.frontends = incr.Derive(e, "frontends", both, same[model.Frontend],
		func(_ *incr.Reader, k string, f frontend, emit func(string, model.Frontend)) { emit(k, f.Frontend) })
	s.tables = incr.Derive(e, "mesh tables", both, same[model.RouteTable],
		func(_ *incr.Reader, k string, f frontend, emit func(string, model.RouteTable)) {
			if f.table != nil {
				emit(k, *f.table)
			}
		})
	s.streams = incr.Derive(e, "mesh streams", both, same[model.StreamTable],
		func(_ *incr.Reader, k string, f frontend, emit func(string, model.StreamTable)) {
			if f.streams != nil {
				emit(k, *f.streams)
			}
		})
	g.mesh.streams = g.ofEach("mesh streams of routes", s.streams)
	s.listeners = incr.Derive(e, "mesh listeners", s.frontends, same[model.Frontend],
		func(r *incr.Reader, k string, f model.Frontend, emit func(string, model.Frontend)) {
			if t, ok := incr.Get(r, s.streams, k); ok {
				f.Streams = t.Taken()
			}
			emit(k, f)
		})
	g.buildLocal(both)
	s.frontendsByNamespace = incr.NewIndex(s.frontends, strings.Compare, func(_ string, f model.Frontend) []string {
		return []string{f.Key.Service.Namespace}
	})
	s.frontendsByNode = incr.NewIndex(s.frontends, strings.Compare, func(_ string, f model.Frontend) []string {
		return some(f.Node)
	})
	s.frontendsByConsumer = incr.NewIndex(s.frontends, strings.Compare, func(_ string, f model.Frontend) []string {
		return some(f.Consumer)
	})
}

func (g *Graph) frontend(r *incr.Reader, svc model.Service, p model.ServicePort, consumer string) frontend {
	key := model.PortKey{Service: svc.Key, Port: p.Port}
	f := frontend{Frontend: model.Frontend{Key: key, Consumer: consumer, Protocol: p.Protocol, Affinity: svc.AffinitySeconds > 0}}
	for _, a := range svc.VIPs {
		f.Addresses = append(f.Addresses, a.String())
	}
	slices.Sort(f.Addresses)
	table, proto, ok := gatewayapi.MeshTable(g.lookup(r), key, consumer)
	if ok {
		f.Protocol = proto
	}
	if f.Protocol.IsHTTP() && table != nil {
		f.table = table
		return f
	}
	unrouted := gatewayapi.UnroutedTable(g.lookup(r), svc, p, consumer)
	f.table = &unrouted
	if streams, ok := gatewayapi.MeshStreams(g.lookup(r), key, consumer); ok {
		f.streams = &streams
		return f
	}
	f.Backends = []model.WeightedBackend{{Backend: key, Weight: 1}}
	return f
}

// frontendsOf returns g.frontend of the ports of a Service, and reads the routes of the Service's namespace once for
// all consumers that have none of their own for a port: their frontends have the same rules in memory.
func (g *Graph) frontendsOf(r *incr.Reader, svc model.Service) func(p model.ServicePort, consumer string) frontend {
	sharing := g.lookup(r).MeshSharing(svc.Key)
	bases := map[uint16]frontend{}
	return func(p model.ServicePort, consumer string) frontend {
		_, shared := slices.BinarySearch(sharing[p.Port], consumer)
		if consumer != "" && !shared {
			return g.frontend(r, svc, p, consumer)
		}
		base, ok := bases[p.Port]
		if !ok {
			base = g.frontend(r, svc, p, "")
			bases[p.Port] = base
		}
		return base.forConsumer(consumer)
	}
}

// forConsumer is the frontend for clients of a namespace that has no routes for the port.
func (f frontend) forConsumer(namespace string) frontend {
	f.Consumer = namespace
	if f.table != nil {
		t := *f.table
		t.Name, f.table = f.name(), &t
	}
	if f.streams != nil {
		t := *f.streams
		t.Name, f.streams = f.name(), &t
	}
	return f
}

func (f frontend) name() string {
	return names.Out{Namespace: f.Key.Service.Namespace, Service: f.Key.Service.Name, Port: f.Key.Port, Node: f.Node, Consumer: f.Consumer}.String()
}

func (g *Graph) buildBackends() {
	e, s := &g.engine, &g.services
	g.buildBackendTLS()
	s.endpoints = incr.Derive(e, "endpoints", s.resolved, same[model.Endpoints],
		func(r *incr.Reader, k model.Key, v model.Resolved, emit func(string, model.Endpoints)) {
			emitTCP := withinPlaces(g.pairs(r, k), func(l model.Endpoints) {
				emit(clusterOf(model.BackendName{Key: l.Key, Node: l.Node, As: l.As, Via: l.Via}), l)
			})
			for _, p := range v.Ports {
				_, tls := incr.Get(r, s.originations, model.PortKey{Service: k, Port: p.Port.Port})
				for list := range g.endpointsOf(r, k, p) {
					for _, list.As = range g.spokenAs(r, k, p.Port) {
						emitTCP(list)
					}
					if tls {
						list.Via = model.Via{TLS: true}
						for _, list.As = range g.inTLS(r, list.Key) {
							emitTCP(list)
						}
					}
				}
			}
			for _, p := range v.UDP {
				if list := p.On(k, ""); g.isUDPBackend(r, list.Key) {
					list.As = names.AsDatagrams
					emit(clusterOf(model.BackendName{Key: list.Key, As: list.As}), list)
				}
			}
		})
	s.backends = incr.Derive(e, "backends", s.resolved, same[model.Backend],
		func(r *incr.Reader, k model.Key, v model.Resolved, emit func(string, model.Backend)) {
			svc, _ := incr.Get(r, g.in.services, k)
			for _, p := range v.Ports {
				b := model.Backend{Key: model.PortKey{Service: k, Port: p.Port.Port}, Protocol: p.Port.Protocol, Transport: p.Transport, Affinity: svc.AffinitySeconds > 0}
				if proto, ok := incr.Get(r, s.protocols, b.Key); ok {
					b.Protocol = proto
				}
				o, tls := incr.Get(r, s.originations, b.Key)
				for _, node := range g.variants(r, b.Key) {
					b.Node = node
					for _, as := range g.spokenAs(r, k, p.Port) {
						v := b
						switch v.As = as; as {
						case names.AsBytes:
							v.Protocol = model.TCP
						case names.AsHTTP1:
							v.Protocol = model.HTTP
						case names.AsHTTP2:
							v.Protocol = model.HTTP2
						}
						emit(clusterOf(model.BackendName{Key: b.Key, Node: node, As: as}), v)
					}
					if tls {
						for _, as := range g.inTLS(r, b.Key) {
							v := o.on(b, as)
							emit(clusterOf(model.BackendName{Key: b.Key, Node: node, As: as, Via: v.Via}), v)
						}
					}
				}
				if svc.Headless {
					b.Node, b.Direct = "", true
					emit(names.Direct(k.Namespace, k.Name, p.Port.Port), b)
				}
			}
			for _, p := range v.UDP {
				b := model.Backend{
					Key: model.PortKey{Service: k, Port: p.Port.Port}, As: names.AsDatagrams, Protocol: model.UDP, Transport: model.Plain,
					Affinity: svc.AffinitySeconds > 0,
				}
				if g.isUDPBackend(r, b.Key) {
					emit(clusterOf(model.BackendName{Key: b.Key, As: b.As}), b)
				}
			}
		})
	s.present = incr.Derive(e, "present backends", s.backends, same[one],
		func(_ *incr.Reader, k string, _ model.Backend, emit func(string, one)) { emit(k, one{}) })
	s.reach = g.buildReach("mesh reach", s.tables)
	s.flow = g.buildFlow("mesh flow", s.streams)
	s.peers = incr.Derive(e, "peers", s.resolved, same[model.Peers],
		func(r *incr.Reader, k model.Key, v model.Resolved, emit func(model.Key, model.Peers)) {
			settings, _ := incr.Get(r, g.in.settings, one{})
			roots, _ := incr.Get(r, g.in.roots, one{})
			p := model.Peers{Service: k, Roots: roots}
			for _, a := range v.Accounts {
				id := names.SPIFFE{TrustDomain: settings.TrustDomain, Namespace: a.Namespace, ServiceAccount: a.Name}.String()
				p.Identities = append(p.Identities, id)
				if a.Namespace != k.Namespace {
					p.Foreign = append(p.Foreign, id)
				}
			}
			emit(k, p)
		})
}

// spokenAs are the ways in which a TCP port is a backend: by its own protocol, and as what the routes need that send
// to it.
func (g *Graph) spokenAs(r *incr.Reader, service model.Key, p model.ServicePort) []string {
	as := []string{""}
	key := model.PortKey{Service: service, Port: p.Port}
	own, known := incr.Get(r, g.services.protocols, key)
	for _, k := range g.kinds {
		if k.IsUDP() || !k.IsOpaque() && !known {
			continue
		}
		if v := k.SpokenAs(p, own); v != "" && !slices.Contains(as, v) && g.sends(r, k.Name, key) {
			as = append(as, v)
		}
	}
	return as
}

// isByteBackend reports whether a route of bytes sends to a TCP port.
func (g *Graph) isByteBackend(r *incr.Reader, key model.PortKey) bool {
	return slices.ContainsFunc(g.kinds, func(k gatewayapi.RouteKind) bool { return k.IsOpaque() && !k.IsUDP() && g.sends(r, k.Name, key) })
}

// isUDPBackend: UDP ports cost nothing until a route sends to them.
func (g *Graph) isUDPBackend(r *incr.Reader, key model.PortKey) bool {
	return slices.ContainsFunc(g.kinds, func(k gatewayapi.RouteKind) bool { return k.IsUDP() && g.sends(r, k.Name, key) })
}

// sends reports whether a route of a kind sends to a port.
func (g *Graph) sends(r *incr.Reader, kind string, port model.PortKey) bool {
	_, used := incr.Get(r, g.mesh.sent, ofPort{Kind: kind, To: port})
	return used
}

// podAt finds the meshed pod that has an address.
func (g *Graph) podAt(r *incr.Reader, a netip.Addr) (w model.Workload, ok bool) {
	incr.Lookup(r, g.services.byAddress, a, func(_ model.Key, found model.Workload) {
		if !ok && found.Kind == names.KindSidecar { // for a moment an address may be two pods': then it is the first one's
			w, ok = found, true
		}
	})
	return w, ok
}

// isAPIServer: the API server's own Service is reached as if there were no mesh.
func isAPIServer(k model.Key) bool { return k == model.Key{Namespace: "default", Name: "kubernetes"} }

func some(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func byPort(a, b podPort) int { return cmp.Or(byKey(a.pod, b.pod), cmp.Compare(a.port, b.port)) }

func byTarget(a, b target) int {
	return cmp.Or(byKey(a.service, b.service), cmp.Compare(a.port, b.port), byPort(a.pod, b.pod), cmp.Compare(a.addr, b.addr))
}
