// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"maps"
	"net/netip"
	"slices"

	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// What proxies may ask for at a time. Namespaces have equal shares of each number (see share).
const (
	// maxDialled bounds the destinations at addresses of meshed pods, nodes, load balancers and external IPs, at
	// some 3 kB each.
	maxDialled = 50_000
	// maxOthers bounds the destinations at other addresses, at some 2.5 kB each. Agents pass connections to more of
	// them untouched, a second later. An address beyond a bound costs some 320 bytes.
	maxOthers = 25_000
	// maxClosed bounds the destinations that are beyond maxDialled and lead to meshed pods. Connections to these are
	// closed, so that they do not pass in plaintext.
	maxClosed = 10_000
)

// answer is what proxies get for an address that they ask for.
type answer uint8

const (
	lookedUp  answer = iota // what is there
	untouched               // there is nothing of the cluster
	closed                  // a meshed pod, but there is no place
)

// dialled is what proxies ask for, and what they get. Which addresses have a place depends on the order in which
// proxies asked, while there are too few places; nothing else in the graph depends on its history.
type dialled struct {
	known, others, refused *share[netip.AddrPort]
	ports                  map[netip.Addr][]uint16 // that are asked for, sorted

	meshed *incr.Index[netip.Addr, model.Key, model.Workload] // pods with a sidecar
	moved  *incr.Watch[netip.Addr]                            // addresses that become known, or unknown, but for pods
	again  map[netip.Addr]struct{}                            // those of ports that follow looks at
}

func (g *Graph) buildDialled() {
	d, x := &g.dialled, &g.destinations
	d.known, d.others, d.refused = newShare[netip.AddrPort](maxDialled), newShare[netip.AddrPort](maxOthers), newShare[netip.AddrPort](maxClosed)
	d.ports, d.again = map[netip.Addr][]uint16{}, map[netip.Addr]struct{}{}
	d.meshed = incr.NewIndex(g.in.workloads, byKey, sidecarAt)
	d.moved = incr.NewWatch[netip.Addr](&g.engine, x.byBalancer, x.byExternal, x.byMorePorts, x.nodesAt)
}

// sidecarAt returns the addresses at which a pod's sidecar is.
func sidecarAt(_ model.Key, w model.Workload) []netip.Addr {
	if w.Kind != names.KindSidecar || w.HostNetwork || w.Ended {
		return nil
	}
	return w.Addresses
}

// dial takes what proxies ask for from now on. by are the namespaces of the proxies.
func (g *Graph) dial(asked map[netip.AddrPort]bool, by map[netip.AddrPort][]string) {
	addrs := make([]netip.AddrPort, 0, len(asked))
	for a := range asked {
		addrs = append(addrs, a)
	}
	slices.SortFunc(addrs, byAddrPort)
	for _, a := range addrs {
		var groups []string
		if asked[a] {
			groups = slices.Compact(slices.Sorted(slices.Values(by[a])))
			if len(groups) == 0 {
				groups = []string{""}
			}
		}
		g.dialled.note(a, len(groups) > 0)
		g.assign(a, groups)
	}
	g.settle()
}

// observe notes the addresses that are asked for and whose pods changed in what isKnown and leadsToPod read.
func (d *dialled) observe(changes []incr.Change[model.Key, model.Workload]) {
	for _, ch := range changes {
		old, now := sidecarAt(ch.Key, ch.Old), sidecarAt(ch.Key, ch.New)
		if slices.Equal(old, now) && ch.Old.Gateway == ch.New.Gateway && slices.Equal(ch.Old.ExcludedInboundPorts, ch.New.ExcludedInboundPorts) {
			continue
		}
		for _, addr := range slices.Concat(old, now) {
			d.lookAgain(addr)
		}
	}
}

// lookAgain has follow look at an address, if proxies ask for it.
func (d *dialled) lookAgain(addr netip.Addr) {
	if len(d.ports[addr]) > 0 {
		d.again[addr] = struct{}{}
	}
}

// follow looks again at addresses that are asked for and have become known or unknown, or whose pods changed, and
// reports whether there were any.
func (g *Graph) follow() (found bool) {
	d := &g.dialled
	for _, addr := range d.moved.Take() {
		d.lookAgain(addr)
	}
	for _, addr := range slices.SortedFunc(maps.Keys(d.again), netip.Addr.Compare) {
		for _, port := range d.ports[addr] {
			a := netip.AddrPortFrom(addr, port)
			groups := d.known.askers(a)
			if groups == nil {
				groups = d.others.askers(a)
			}
			g.assign(a, groups)
			found = true
		}
	}
	d.again = map[netip.Addr]struct{}{}
	if found {
		g.settle()
	}
	return found
}

// assign asks for a place among those that an address belongs to.
func (g *Graph) assign(a netip.AddrPort, groups []string) {
	d := &g.dialled
	of, not := d.others, d.known
	if g.isKnown(a.Addr()) {
		of, not = not, of
	}
	not.ask(a, nil)
	of.ask(a, groups)
	of.touched[a] = struct{}{} // what it gets without a place may change, although the claim does not
}

// settle gives the places.
func (g *Graph) settle() {
	d := &g.dialled
	changed := append(d.known.settle(), d.others.settle()...)
	slices.SortFunc(changed, byAddrPort)
	for _, a := range changed {
		var groups []string
		if !d.known.placed(a) && g.leadsToPod(a) {
			groups = d.known.askers(a)
		}
		d.refused.ask(a, groups)
	}
	for _, a := range append(changed, d.refused.settle()...) {
		switch {
		case d.known.placed(a):
			g.in.dialled.Set(a, lookedUp)
		case d.others.placed(a):
			g.in.dialled.Set(a, untouched)
		case d.refused.placed(a):
			g.in.dialled.Set(a, closed)
		default:
			g.in.dialled.Delete(a)
		}
	}
}

// LeftOut is how many addresses proxies ask for at which something of the cluster is, and that have no place.
func (g *Graph) LeftOut() int { return g.dialled.known.waits }

// isKnown reports whether something may be at an address that proxies are told of.
func (g *Graph) isKnown(a netip.Addr) bool {
	x := &g.destinations
	return g.dialled.meshed.Has(a) || x.nodesAt.Has(a) || x.byBalancer.Has(a) || x.byExternal.Has(a) || x.byMorePorts.Has(a)
}

// leadsToPod reports whether connections to an address go to the proxy of a pod.
func (g *Graph) leadsToPod(a netip.AddrPort) bool {
	for k := range g.dialled.meshed.Bucket(a.Addr()) {
		w, _ := g.in.workloads.Value(k)
		return w.Meshed(a.Port())
	}
	return false
}

// note keeps which ports of an address are asked for.
func (d *dialled) note(a netip.AddrPort, asked bool) {
	list := d.ports[a.Addr()]
	i, found := slices.BinarySearch(list, a.Port())
	switch {
	case found == asked:
	case asked:
		d.ports[a.Addr()] = slices.Insert(list, i, a.Port())
	case len(list) == 1:
		delete(d.ports, a.Addr())
	default:
		d.ports[a.Addr()] = slices.Delete(list, i, i+1)
	}
}
