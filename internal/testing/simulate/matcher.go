// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package simulate

import (
	"fmt"
	"strconv"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	inputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// chosen picks the filter chain that a listener's filter_chain_matcher names. nil: the connection is closed.
func chosen(l *listenerv3.Listener, c Connection) (*listenerv3.FilterChain, error) {
	on, err := match(l.GetFilterChainMatcher(), c)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.GetName(), err)
	}
	if on == nil {
		return l.GetDefaultFilterChain(), nil
	}
	var name wrapperspb.StringValue
	if err := on.GetAction().GetTypedConfig().UnmarshalTo(&name); err != nil {
		return nil, fmt.Errorf("listener %s: action %q: %w", l.GetName(), on.GetAction().GetName(), err)
	}
	for _, ch := range l.GetFilterChains() {
		if ch.GetName() == name.GetValue() {
			return ch, nil
		}
	}
	return nil, fmt.Errorf("listener %s: the matcher names chain %q, which does not exist", l.GetName(), name.GetValue())
}

// match follows a matcher to the action for c; nil: there is none.
func match(m *matcherv3.Matcher, c Connection) (*matcherv3.Matcher_OnMatch, error) {
	if m == nil {
		return nil, nil
	}
	on := m.GetOnNoMatch()
	switch {
	case m.GetMatcherList() != nil:
		for _, f := range m.GetMatcherList().GetMatchers() {
			ok, err := holds(f.GetPredicate().GetSinglePredicate(), c)
			if err != nil {
				return nil, err
			}
			if ok {
				on = f.GetOnMatch()
				break
			}
		}
	case m.GetMatcherTree() != nil:
		t := m.GetMatcherTree()
		v, there, err := input(t.GetInput(), c)
		if err != nil {
			return nil, err
		}
		if exact, ok := t.GetExactMatchMap().GetMap()[v]; ok && there {
			on = exact
		}
		longest := -1
		for prefix, to := range t.GetPrefixMatchMap().GetMap() {
			if there && strings.HasPrefix(v, prefix) && len(prefix) > longest {
				longest, on = len(prefix), to
			}
		}
	}
	if on.GetMatcher() != nil {
		return match(on.GetMatcher(), c)
	}
	return on, nil
}

func holds(p *matcherv3.Matcher_MatcherList_Predicate_SinglePredicate, c Connection) (bool, error) {
	v, there, err := input(p.GetInput(), c)
	if err != nil || !there {
		return false, err
	}
	switch s := p.GetValueMatch().GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return v == s.Exact, nil
	case *matcherv3.StringMatcher_Suffix:
		return strings.HasSuffix(v, s.Suffix), nil
	case *matcherv3.StringMatcher_Contains:
		return strings.Contains(v, s.Contains), nil
	default:
		return false, fmt.Errorf("a predicate on %q that is not simulated", p.GetInput().GetName())
	}
}

// input is what Envoy knows of a connection before it chooses a filter chain; there is false for what the
// connection does not say.
func input(in *xdscorev3.TypedExtensionConfig, c Connection) (value string, there bool, err error) {
	m, err := in.GetTypedConfig().UnmarshalNew()
	if err != nil {
		return "", false, fmt.Errorf("input %q: %w", in.GetName(), err)
	}
	switch m.(type) {
	case *inputsv3.DestinationPortInput:
		return strconv.Itoa(int(c.To.Port())), true, nil
	case *inputsv3.TransportProtocolInput:
		if c.TLS != nil {
			return "tls", true, nil
		}
		return "raw_buffer", true, nil
	case *inputsv3.ServerNameInput:
		if c.TLS == nil || c.TLS.SNI == "" {
			return "", false, nil
		}
		return strings.ToLower(c.TLS.SNI), true, nil
	case *inputsv3.ApplicationProtocolInput:
		if c.TLS == nil || len(c.TLS.ALPN) == 0 {
			return "", false, nil
		}
		return "'" + strings.Join(c.TLS.ALPN, "','") + "'", true, nil
	}
	return "", false, fmt.Errorf("input %q is not simulated", in.GetName())
}
