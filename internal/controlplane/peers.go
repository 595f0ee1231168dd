// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"net/netip"
	"slices"
	"strings"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/names"
)

// peers are the addresses of the control plane's ready replicas, by EndpointSlice.
type peers map[model.Key]peerSlice

type peerSlice struct {
	// serving: of the Service that agents connect to. Otherwise of the one that lists all revisions.
	serving bool
	// internal: its pods have names.PortInternal. EndpointSlices list pods apart that do not.
	internal  bool
	addresses []string
}

// take notes a slice, or with the zero slice that it has gone, and tells whether that changed anything.
func (p peers) take(k model.Key, s model.Slice, system string) bool {
	before, was := p[k]
	delete(p, k)
	if s.Service.Namespace != system || s.Service.Name != names.ControlPlaneService && s.Service.Name != names.ControlPlaneReplicas {
		return was
	}
	now := peerSlice{
		serving:  s.Service.Name == names.ControlPlaneService,
		internal: slices.ContainsFunc(s.Ports, func(p model.SlicePort) bool { return p.Name == names.InternalPortName && !p.UDP }),
	}
	for _, ep := range s.Endpoints {
		if ep.Ready {
			now.addresses = append(now.addresses, ep.Addr.String())
		}
	}
	p[k] = now
	return !was || before.serving != now.serving || before.internal != now.internal || !slices.Equal(before.addresses, now.addresses)
}

// addresses are those of all replicas, sorted, each once. Those of the serving Service are among
// them also where an operator of an older release made no Service for all.
func (p peers) addresses() []string {
	var out []string
	for _, s := range p {
		out = append(out, s.addresses...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// asked are the replicas that this one, at self, can ask for their progress, sorted, each once. A replica
// without the internal port is asked in plaintext. That a slice lacks the port says so only if the Service
// has it, and that shows at self, whose pod has the port: otherwise, as after a downgrade of the operator,
// no other replica is asked.
func (p peers) asked(self string) []status.Peer {
	internal, listed := map[string]bool{}, map[string]bool{}
	for _, s := range p {
		for _, a := range s.addresses {
			internal[a] = internal[a] || s.internal
			listed[a] = listed[a] || !s.serving
		}
	}
	me := ""
	if a, err := netip.ParseAddr(self); err == nil {
		me = a.String()
	}
	var out []status.Peer
	for a, secure := range internal {
		if secure || listed[a] && internal[me] {
			out = append(out, status.Peer{Address: a, Plain: !secure})
		}
	}
	slices.SortFunc(out, func(a, b status.Peer) int { return strings.Compare(a.Address, b.Address) })
	return out
}

// servers is how many replicas the Service that agents connect to leads to.
func (p peers) servers() int {
	n := 0
	for _, s := range p {
		if s.serving {
			n += len(s.addresses)
		}
	}
	return n
}

// serves tells whether the Service that agents connect to leads to this address. A replica whose
// address is unknown or that is not ready does not serve; neither does one of a revision that the
// Service does not lead to (yet, or any more).
func (p peers) serves(address string) bool {
	want, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	for _, s := range p {
		if s.serving && slices.Contains(s.addresses, want.String()) {
			return true
		}
	}
	return false
}
