// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"net/netip"
	"slices"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// peers are the addresses of the control plane's ready replicas, by EndpointSlice.
type peers map[model.Key]peerSlice

type peerSlice struct {
	// serving: of the Service that agents connect to. Otherwise of the one that lists all revisions.
	serving   bool
	addresses []string
}

// take notes a slice, or with the zero slice that it has gone, and tells whether that changed anything.
func (p peers) take(k model.Key, s model.Slice, system string) bool {
	before, was := p[k]
	delete(p, k)
	if s.Service.Namespace != system || s.Service.Name != names.ControlPlaneService && s.Service.Name != names.ControlPlaneReplicas {
		return was
	}
	now := peerSlice{serving: s.Service.Name == names.ControlPlaneService}
	for _, ep := range s.Endpoints {
		if ep.Ready {
			now.addresses = append(now.addresses, ep.Addr.String())
		}
	}
	p[k] = now
	return !was || before.serving != now.serving || !slices.Equal(before.addresses, now.addresses)
}

// all are the addresses of all replicas, sorted, each once. Those of the serving Service are among
// them also where an operator of an older release made no Service for all.
func (p peers) all() []string {
	var out []string
	for _, s := range p {
		out = append(out, s.addresses...)
	}
	slices.Sort(out)
	return slices.Compact(out)
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
