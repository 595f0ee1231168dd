// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package simulate

import (
	"fmt"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	udpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/udp/udp_proxy/v3"
	fractionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/runtime_fraction/v3"
)

const million = 1_000_000

// datagrams says where the datagrams of a UDP listener go: clusters with their parts of a million, and
// Closed if some are dropped.
func (w World) datagrams(l *listenerv3.Listener, out *Outcome) error {
	p := new(udpv3.UdpProxyConfig)
	if err := l.GetListenerFilters()[0].GetTypedConfig().UnmarshalTo(p); err != nil {
		return fmt.Errorf("listener %s: %w", l.GetName(), err)
	}
	out.Hashed = len(p.GetHashPolicies()) > 0
	out.Clusters = map[string]uint32{}
	below := uint32(0)
	for _, m := range p.GetMatcher().GetMatcherList().GetMatchers() {
		f := new(fractionv3.RuntimeFraction)
		if err := m.GetPredicate().GetSinglePredicate().GetCustomMatch().GetTypedConfig().UnmarshalTo(f); err != nil {
			return fmt.Errorf("listener %s: %w", l.GetName(), err)
		}
		// All hash the same with the same seed, so that one that comes later matches only what is above.
		upTo := f.GetRuntimeFraction().GetDefaultValue().GetNumerator()
		if f.GetSeed() != 0 || upTo < below {
			return fmt.Errorf("listener %s: fraction %v comes after one of %d", l.GetName(), f, below)
		}
		if err := w.share(m.GetOnMatch(), upTo-below, out); err != nil {
			return fmt.Errorf("listener %s: %w", l.GetName(), err)
		}
		below = upTo
	}
	if rest := p.GetMatcher().GetOnNoMatch(); rest != nil {
		return w.share(rest, million-below, out)
	}
	out.Closed = true
	return nil
}

func (w World) share(to *xdsmatcherv3.Matcher_OnMatch, parts uint32, out *Outcome) error {
	r := new(udpv3.Route)
	if err := to.GetAction().GetTypedConfig().UnmarshalTo(r); err != nil {
		return err
	}
	if !w.clusters[r.GetCluster()] {
		return fmt.Errorf("datagrams go to cluster %q, which does not exist", r.GetCluster())
	}
	out.Clusters[r.GetCluster()] += parts
	return nil
}
