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
}

// Resolve joins a Service with its slices and the pods behind them. As kube-proxy does, it uses ready
// endpoints, and where a port has none, those that terminate but still serve (KEP-1669).
//
// An endpoint that names a pod of the Service's namespace which is unknown, or known under other
// addresses, is left out: the slice and the pod come by different watches, and an address may by now be
// another pod's. An endpoint that names no such pod, as those written by hand, is what at finds under its
// address: a pod with a proxy, or nothing. The order of slices does not matter.
func Resolve(svc Service, parts []Slice, pod func(Key) (Workload, bool), at func(netip.Addr) (Workload, bool)) Resolved {
	r := Resolved{Service: svc.Key}
	find := func(e SliceEndpoint) (w Workload, known, usable bool) {
		if e.Pod.Namespace == svc.Namespace && e.Pod != (Key{}) {
			w, known = pod(e.Pod)
			return w, known, known && slices.Contains(w.Addresses, e.Addr)
		}
		w, known = at(e.Addr)
		return w, known, true
	}
	for _, p := range svc.Ports {
		if p.Protocol == UDP {
			r.UDP = append(r.UDP, resolvePort(p, parts, find, &r.Accounts).placed(svc.LocalTraffic))
			continue
		}
		r.Ports = append(r.Ports, resolvePort(p, parts, find, &r.Accounts).placed(svc.LocalTraffic))
	}
	slices.SortFunc(r.Accounts, compareKeys)
	r.Accounts = slices.Compact(r.Accounts)
	return r
}

func resolvePort(p ServicePort, parts []Slice, find func(SliceEndpoint) (w Workload, known, usable bool), accounts *[]Key) ResolvedPort {
	var ready, ending, members []ResolvedEndpoint
	meshed, plain := 0, 0
	for _, s := range parts {
		i := slices.IndexFunc(s.Ports, func(sp SlicePort) bool { return sp.Name == p.Name && sp.UDP == (p.Protocol == UDP) })
		if i < 0 {
			continue
		}
		for _, e := range s.Endpoints {
			r := ResolvedEndpoint{Addr: netip.AddrPortFrom(e.Addr, s.Ports[i].Port), Node: e.Node, Zone: e.Zone}
			w, known, usable := find(e)
			if !usable {
				continue
			}
			if known {
				r.Pod, r.Meshed = w.Key, p.Protocol != UDP && w.Meshed(s.Ports[i].Port)
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
