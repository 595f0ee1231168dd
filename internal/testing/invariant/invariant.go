// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package invariant

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/names"
)

// Check returns every broken rule, joined, or nil. The set must be whole: what a resource names must be in it.
func Check(resources []envoy.Resource) error {
	var errs []error
	held := map[envoy.Ref]bool{}
	for _, r := range resources {
		if held[r.Ref()] {
			errs = append(errs, fmt.Errorf("%s %s stands twice: Envoy rejects a response with duplicates", r.TypeURL, r.Name))
		}
		held[r.Ref()] = true
	}
	addresses := map[string]string{}
	for _, r := range resources {
		for _, err := range []error{
			fieldsValid(r), refsComplete(r), refsExist(r, held), chainsDiffer(r), domainsDiffer(r), addressesDiffer(r, addresses),
		} {
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", r.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// fieldsValid: the constraints that Envoy's API declares hold, in extensions too.
func fieldsValid(r envoy.Resource) error {
	if r.Message == nil {
		return nil
	}
	var errs []error
	err := walk(r.Message, func(m proto.Message) {
		if v, ok := m.(interface{ ValidateAll() error }); ok {
			if err := v.ValidateAll(); err != nil {
				errs = append(errs, err)
			}
		}
	})
	return errors.Join(append(errs, err)...)
}

// refsComplete: Refs, by which the server orders what it sends, are what the message names. The
// cluster that never exists is no reference.
func refsComplete(r envoy.Resource) error {
	named, err := namedBy(r)
	if err != nil {
		return err
	}
	var want []envoy.Ref
	for ref := range named {
		if (ref.TypeURL == envoy.ClusterType || ref.TypeURL == envoy.RoutesType || ref.TypeURL == envoy.ExtensionType) && ref.Name != names.NoBackend {
			want = append(want, ref)
		}
	}
	sort.Slice(want, func(i, j int) bool {
		return want[i].TypeURL+want[i].Name < want[j].TypeURL+want[j].Name
	})
	if !slices.Equal(want, r.Refs) {
		return fmt.Errorf("names %v, but says that it refers to %v", want, r.Refs)
	}
	return nil
}

// refsExist: nothing names what is not there. The agent itself adds the identity.
func refsExist(r envoy.Resource, held map[envoy.Ref]bool) error {
	named, err := namedBy(r)
	if err != nil {
		return err
	}
	var errs []error
	for ref := range named {
		if !held[ref] && ref.Name != names.NoBackend && ref != (envoy.Ref{TypeURL: envoy.SecretType, Name: names.Identity}) {
			errs = append(errs, fmt.Errorf("names %s %s, which does not exist", ref.TypeURL, ref.Name))
		}
	}
	return errors.Join(errs...)
}

// chainsDiffer: Envoy rejects a listener with two chains that match the same.
func chainsDiffer(r envoy.Resource) error {
	l, ok := r.Message.(*listenerv3.Listener)
	if !ok {
		return nil
	}
	if l.GetUdpListenerConfig() != nil {
		if len(l.GetFilterChains()) > 0 || l.GetDefaultFilterChain() != nil || len(l.GetListenerFilters()) != 1 {
			return errors.New("a listener for UDP has one listener filter, which ends the datagrams' way, and no filter chain")
		}
		return nil
	}
	if l.GetApiListener() == nil && len(l.GetFilterChains()) == 0 && l.GetDefaultFilterChain() == nil {
		return errors.New("no filter chain")
	}
	if l.GetFilterChainMatcher() != nil {
		return chainsNamed(l)
	}
	var errs []error
	seen, name := map[string]string{}, map[string]bool{}
	for _, c := range l.GetFilterChains() {
		for _, key := range matchKeys(c.GetFilterChainMatch()) {
			if other, ok := seen[key]; ok {
				errs = append(errs, fmt.Errorf("chains %q and %q both match %s", other, c.GetName(), key))
			}
			seen[key] = c.GetName()
		}
		if name[c.GetName()] && len(l.GetFilterChains()) > 1 {
			errs = append(errs, fmt.Errorf("two chains are named %q", c.GetName()))
		}
		name[c.GetName()] = true
	}
	return errors.Join(errs...)
}

// chainsNamed: with a matcher every chain has a name of its own and no match, and the matcher names each of
// them and no other. Envoy closes connections for which it names one that does not exist.
func chainsNamed(l *listenerv3.Listener) error {
	var errs []error
	named := map[string]bool{}
	if err := walk(l.GetFilterChainMatcher(), func(m proto.Message) {
		if s, ok := m.(*wrapperspb.StringValue); ok {
			named[s.GetValue()] = true
		}
	}); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, c := range l.GetFilterChains() {
		if c.GetFilterChainMatch() != nil {
			errs = append(errs, fmt.Errorf("chain %q has a match beside the listener's matcher", c.GetName()))
		}
		if seen[c.GetName()] || c.GetName() == "" {
			errs = append(errs, fmt.Errorf("two chains are named %q, or one has no name", c.GetName()))
		}
		seen[c.GetName()] = true
	}
	for name := range named {
		if !seen[name] {
			errs = append(errs, fmt.Errorf("the matcher names chain %q, which does not exist", name))
		}
	}
	return errors.Join(errs...)
}

// matchKeys spells out each combination of the lists in a match.
func matchKeys(m *listenerv3.FilterChainMatch) []string {
	snis, alpns := m.GetServerNames(), m.GetApplicationProtocols()
	if len(snis) == 0 {
		snis = []string{"any"}
	}
	if len(alpns) == 0 {
		alpns = []string{"any"}
	}
	var keys []string
	for _, s := range snis {
		for _, a := range alpns {
			keys = append(keys, fmt.Sprintf("port %d, server name %s, transport %q, ALPN %s",
				m.GetDestinationPort().GetValue(), s, m.GetTransportProtocol(), a))
		}
	}
	return keys
}

// domainsDiffer: Envoy rejects a table in which a domain or a virtual host's name stands twice.
func domainsDiffer(r envoy.Resource) error {
	rc, ok := r.Message.(*routev3.RouteConfiguration)
	if !ok {
		return nil
	}
	var errs []error
	name, domain := map[string]bool{}, map[string]bool{}
	for _, vh := range rc.GetVirtualHosts() {
		if name[vh.GetName()] {
			errs = append(errs, fmt.Errorf("two virtual hosts are named %q", vh.GetName()))
		}
		name[vh.GetName()] = true
		for _, d := range vh.GetDomains() {
			if domain[strings.ToLower(d)] {
				errs = append(errs, fmt.Errorf("domain %q stands twice", d))
			}
			domain[strings.ToLower(d)] = true
		}
	}
	return errors.Join(errs...)
}

// addressesDiffer: Envoy rejects a second listener at an address, even if neither is bound.
func addressesDiffer(r envoy.Resource, addresses map[string]string) error {
	l, ok := r.Message.(*listenerv3.Listener)
	if !ok || l.GetApiListener() != nil { // which listens to nothing
		return nil
	}
	var errs []error
	all := []string{l.GetAddress().String()}
	for _, a := range l.GetAdditionalAddresses() {
		all = append(all, a.GetAddress().String())
	}
	for _, a := range all {
		if other, ok := addresses[a]; ok {
			errs = append(errs, fmt.Errorf("has the address of %s: %s", other, a))
		}
		addresses[a] = r.Name
	}
	return errors.Join(errs...)
}
