// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// Resolved is a Service with its endpoints and the identities behind them.
type Resolved struct {
	Service Key
	// Ports are in the order of the Service's: those for TCP.
	Ports []ResolvedPort
	// UDP are its ports for UDP, in the same order. No proxy of the mesh stands before them.
	UDP []ResolvedPort
	// Accounts are the service accounts behind the Service, sorted, as namespace and name. Pods that are
	// not ready yet or are terminating count, so that an identity is known before its endpoint is used.
	Accounts []Key
	// More is how the endpoints of the Service are reached on the ports that Service.MorePorts counts: MeshOnly if
	// each of them is a pod whose proxy takes every port. Otherwise connections to these ports pass untouched.
	More Transport `json:",omitzero"`
}

// ResolvedPort is one port of a Service.
type ResolvedPort struct {
	Port      ServicePort
	Transport Transport
	// Endpoints are usable now, sorted by address.
	Endpoints []ResolvedEndpoint
	// Ending are those that terminate but still serve, sorted by address, whether they are among Endpoints
	// or not. Only a Service with internalTrafficPolicy Local has them: what is usable depends on the node.
	Ending []ResolvedEndpoint
	// Members are the meshed pods behind the port, whether usable or not, sorted by address. Their proxies
	// have to know what the port speaks before the first connection comes and until the last has gone: a
	// connection stays for life with what the proxy knew when it was made.
	Members []ResolvedEndpoint
}

// ResolvedEndpoint is one address.
type ResolvedEndpoint struct {
	Addr       netip.AddrPort
	Pod        Key // zero where no pod is known behind the address
	Node, Zone string
	Meshed     bool
	Hints      *Hints // of ready endpoints in ResolvedPort.Endpoints; nil: none
	// Withheld endpoints are not used by Gateways: see isWithheld.
	Withheld bool
}

// Resolve joins a Service with its slices and the pods behind them. As kube-proxy does, it uses ready
// endpoints, and where a port has none, those that terminate but still serve (KEP-1669).
//
// An endpoint that names a pod of the Service's namespace which is unknown, or known under other
// addresses, is left out: the slice and the pod come by different watches, and an address may by now be
// another pod's. An endpoint that names no such pod, as those written by hand, is what at finds under its
// address: a pod with a proxy, or nothing. The order of slices does not matter. No more than pairs of a port and an
// endpoint are used: see PairsOf. isLed reports whether connections to an address lead to a Gateway, or kube-proxy leads
// them to a Service; nil: none does.
func Resolve(
	svc Service, parts []Slice, pairs int, pod func(Key) (Workload, bool), at func(netip.Addr) (Workload, bool), isLed func(netip.AddrPort) bool,
) Resolved {
	r := Resolved{Service: svc.Key}
	parts = within(parts, pairs/max(1, len(svc.Ports)))
	find := func(e SliceEndpoint) (w Workload, known, usable bool) {
		if e.Pod.Namespace == svc.Namespace && e.Pod != (Key{}) {
			w, known = pod(e.Pod)
			return w, known, known && slices.Contains(w.Addresses, e.Addr)
		}
		w, known = at(e.Addr)
		return w, known, true
	}
	if !isHinted(parts, len(svc.Ports), pairs) {
		parts = withoutHints(parts)
	}
	numbers := numbersOf(parts)
	for _, p := range svc.Ports {
		if p.Protocol == UDP {
			r.UDP = append(r.UDP, resolvePort(svc, p, parts, numbers, find, isLed, &r.Accounts).placed(svc.LocalTraffic))
			continue
		}
		r.Ports = append(r.Ports, resolvePort(svc, p, parts, numbers, find, isLed, &r.Accounts).placed(svc.LocalTraffic))
	}
	if svc.MorePorts > 0 {
		r.More = resolveMore(parts, find, &r.Accounts)
	}
	slices.SortFunc(r.Accounts, compareKeys)
	r.Accounts = slices.Compact(r.Accounts)
	return r
}

// MaxPairs bounds the pairs of a port and an endpoint of one Service: a Service of 256 ports with an EndpointSlice of
// 1,000 addresses, which is small, would otherwise take 70 MB, and several times that with hints and routes of several
// kinds that send to it.
const MaxPairs = 50_000

// SmallPairs is how many pairs of a port and an endpoint a Service may have without taking a share of NamespacePairs.
const SmallPairs = 1_000

// NamespacePairs bounds the pairs that are used of all larger Services of a namespace together, since two small objects
// make a Service of MaxPairs.
const NamespacePairs = 250_000

// PairsOf is how many pairs of a port and an endpoint are used of a Service in whose namespace there are so many Services
// of more than SmallPairs, itself among them. They have equal shares, so that how they are named or when they were created
// does not matter, and a change of one does not change the others.
func PairsOf(large int) int {
	return max(SmallPairs, min(MaxPairs, NamespacePairs/max(1, large)))
}

// IsLarge reports whether a Service has more than SmallPairs.
func IsLarge(svc Service, parts []Slice) bool {
	n := 0
	for _, s := range parts {
		n += len(s.Endpoints)
	}
	return n*len(svc.Ports) > SmallPairs
}

// PlacesOf is how many variants of endpoints are published of a Service that may use so many pairs, one for each place and
// port: those for the ports' own protocols, or for another way of speaking that routes or policies ask for, of which
// there are up to five.
func PlacesOf(pairs int, own bool) int {
	if own {
		return max(SmallPairs, pairs/5)
	}
	return max(SmallPairs, pairs/20)
}

// isHinted reports whether the hints of endpoints are few enough to count. Two numbers are bounded, over all ports: how
// often an endpoint is in the lists of places, since it may have eight hints for zones and as many for nodes, of which
// the EndpointSlice controller writes one of each; and the places, since each has a variant of the port's endpoints.
func isHinted(parts []Slice, ports, pairs int) bool {
	n, places := 0, map[Place]bool{}
	for _, s := range parts {
		for _, e := range s.Endpoints {
			for _, zone := range e.Hints.zones() {
				places[Place{Zone: zone}] = true
				n++
			}
			for _, node := range e.Hints.nodes() {
				places[Place{Node: node}] = true
				n++
			}
		}
	}
	return n*ports <= 4*pairs && len(places)*ports <= PlacesOf(pairs, true)
}

func withoutHints(parts []Slice) []Slice {
	out := slices.Clone(parts)
	for i := range out {
		out[i].Endpoints = slices.Clone(out[i].Endpoints)
		for j := range out[i].Endpoints {
			out[i].Endpoints[j].Hints = nil
		}
	}
	return out
}

// within returns slices with no more endpoints than n: those that are used before others, by address. A Service with
// more sends to these alone.
func within(parts []Slice, n int) []Slice {
	total := 0
	for _, s := range parts {
		total += len(s.Endpoints)
	}
	if total <= n {
		return parts
	}
	type place struct{ slice, endpoint int }
	all := make([]place, 0, total)
	for i, s := range parts {
		for j := range s.Endpoints {
			all = append(all, place{i, j})
		}
	}
	rank := func(e SliceEndpoint) int {
		switch {
		case e.Ready:
			return 0
		case e.Serving:
			return 1
		}
		return 2
	}
	slices.SortFunc(all, func(a, b place) int {
		x, y := parts[a.slice].Endpoints[a.endpoint], parts[b.slice].Endpoints[b.endpoint]
		return cmp.Or(
			cmp.Compare(rank(x), rank(y)), x.Addr.Compare(y.Addr), compareKeys(parts[a.slice].Key, parts[b.slice].Key),
			cmp.Compare(a.endpoint, b.endpoint),
		)
	})
	out := slices.Clone(parts)
	for i := range out {
		out[i].Endpoints = nil
	}
	for _, at := range all[:n] {
		out[at.slice].Endpoints = append(out[at.slice].Endpoints, parts[at.slice].Endpoints[at.endpoint])
	}
	return out
}

// resolveMore is Resolved.More.
func resolveMore(parts []Slice, find func(SliceEndpoint) (w Workload, known, usable bool), accounts *[]Key) Transport {
	meshed, plain := 0, 0
	for _, s := range parts {
		for _, e := range s.Endpoints {
			switch w, known, usable := find(e); {
			case !usable:
			case known && w.Meshed(0) && len(w.ExcludedInboundPorts) == 0:
				meshed++
				*accounts = append(*accounts, Key{w.Namespace, w.ServiceAccount})
			default:
				plain++
			}
		}
	}
	if meshed == 0 {
		return Plain // kube-proxy may know of endpoints that are not here yet
	}
	return transport(meshed, plain)
}

// portName joins a port of a Service to one of a slice.
type portName struct {
	name string
	udp  bool
}

// numbersOf are the ports of each slice. Of several with a name the first counts.
func numbersOf(parts []Slice) []map[portName]uint16 {
	out := make([]map[portName]uint16, len(parts))
	for i, s := range parts {
		out[i] = make(map[portName]uint16, len(s.Ports))
		for _, p := range s.Ports {
			if _, ok := out[i][portName{p.Name, p.UDP}]; !ok {
				out[i][portName{p.Name, p.UDP}] = p.Port
			}
		}
	}
	return out
}

// isWithheld reports whether Gateways must not send to an endpoint of a Service. Whoever may write EndpointSlices and
// attach a route could otherwise have a Gateway send to itself without end, or connect to the pods of another namespace
// with its identity, for which routes need a ReferenceGrant. w is the pod at the address, if it is known: by name a pod of
// the Service's namespace, else one with a sidecar. Pods of the Service's namespace that are named are looked at no
// further, so that a Gateway can send to another one of its Service's namespace.
func isWithheld(svc Service, w Workload, known bool, a netip.AddrPort, isLed func(netip.AddrPort) bool) bool {
	switch {
	case known && (w.Namespace != svc.Namespace || w.Ended): // the address may be another pod's by now
		return true
	case known && !w.HostNetwork:
		return false
	}
	return isLed != nil && isLed(a)
}

func resolvePort(
	svc Service, p ServicePort, parts []Slice, numbers []map[portName]uint16,
	find func(SliceEndpoint) (w Workload, known, usable bool), isLed func(netip.AddrPort) bool, accounts *[]Key,
) ResolvedPort {
	var ready, ending, members []ResolvedEndpoint
	meshed, plain := 0, 0
	for i, s := range parts {
		number, ok := numbers[i][portName{p.Name, p.Protocol == UDP}]
		if !ok {
			continue
		}
		for _, e := range s.Endpoints {
			r := ResolvedEndpoint{Addr: netip.AddrPortFrom(e.Addr, number), Node: e.Node, Zone: e.Zone}
			w, known, usable := find(e)
			if !usable {
				continue
			}
			r.Withheld = isWithheld(svc, w, known, r.Addr, isLed)
			if known {
				r.Pod, r.Meshed = w.Key, p.Protocol != UDP && w.Meshed(number)
			}
			if r.Meshed {
				*accounts = append(*accounts, Key{w.Namespace, w.ServiceAccount})
			}
			if r.Meshed {
				meshed++
				members = append(members, r)
			} else {
				plain++
			}
			switch {
			case e.Ready:
				r.Hints = e.Hints
				ready = append(ready, r)
			case e.Serving && e.Terminating:
				ending = append(ending, r)
			}
		}
	}
	ready, ending = distinct(ready), distinct(ending)
	if len(ready) == 0 {
		ready = ending
	}
	return ResolvedPort{Port: p, Transport: transport(meshed, plain), Endpoints: ready, Ending: ending, Members: distinct(members)}
}

// distinct sorts by address, and keeps one of each.
func distinct(list []ResolvedEndpoint) []ResolvedEndpoint {
	slices.SortFunc(list, func(a, b ResolvedEndpoint) int {
		if c := a.Addr.Compare(b.Addr); c != 0 {
			return c
		}
		return cmp.Or(
			compareKeys(a.Pod, b.Pod), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Node, b.Node),
			slices.Compare(a.Hints.zones(), b.Hints.zones()), slices.Compare(a.Hints.nodes(), b.Hints.nodes()),
		)
	})
	return slices.CompactFunc(list, func(a, b ResolvedEndpoint) bool { return a.Addr == b.Addr })
}

func transport(meshed, plain int) Transport {
	switch {
	case plain == 0:
		return MeshOnly
	case meshed == 0:
		return Plain
	}
	return Mixed
}

func compareKeys(a, b Key) int {
	if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}
