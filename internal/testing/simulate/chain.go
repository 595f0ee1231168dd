// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package simulate

import (
	"fmt"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// choose picks a filter chain as Envoy does: criterion by criterion, keeping only the chains with
// the most specific value that fits, and never going back (listener.proto, FilterChainMatch). nil:
// the connection is closed.
func choose(l *listenerv3.Listener, c Connection) (*listenerv3.FilterChain, error) {
	transport, sni := "raw_buffer", ""
	var alpn []string
	if c.TLS != nil && inspects(l) {
		transport, sni, alpn = "tls", strings.ToLower(c.TLS.SNI), c.TLS.ALPN
	}
	chains := l.GetFilterChains()
	if l.GetFilterChainMatcher() != nil {
		return chosen(l, c)
	}
	for _, ch := range chains {
		m := ch.GetFilterChainMatch()
		if len(m.GetPrefixRanges())+len(m.GetSourcePrefixRanges())+len(m.GetSourcePorts())+len(m.GetDirectSourcePrefixRanges()) > 0 || m.GetSourceType() != 0 {
			return nil, fmt.Errorf("listener %s: chain %q matches by what is not simulated", l.GetName(), ch.GetName())
		}
	}
	chains = best(chains, func(m *listenerv3.FilterChainMatch) int {
		switch {
		case m.GetDestinationPort() == nil:
			return 1
		case m.GetDestinationPort().GetValue() == uint32(c.To.Port()):
			return 2
		}
		return 0
	})
	chains = best(chains, func(m *listenerv3.FilterChainMatch) int {
		if len(m.GetServerNames()) == 0 {
			return 1
		}
		longest := 0
		for _, n := range m.GetServerNames() {
			suffix, wild := strings.CutPrefix(n, "*")
			if n == sni && sni != "" {
				return 2 + len(sni) + 1
			}
			if wild && strings.HasSuffix(sni, suffix) && len(sni) > len(suffix) {
				longest = max(longest, 2+len(suffix))
			}
		}
		return longest
	})
	chains = best(chains, func(m *listenerv3.FilterChainMatch) int {
		switch m.GetTransportProtocol() {
		case "":
			return 1
		case transport:
			return 2
		}
		return 0
	})
	chains = best(chains, func(m *listenerv3.FilterChainMatch) int {
		if len(m.GetApplicationProtocols()) == 0 {
			return 1
		}
		for _, want := range m.GetApplicationProtocols() {
			for _, offered := range alpn {
				if want == offered {
					return 2
				}
			}
		}
		return 0
	})
	switch len(chains) {
	case 0:
		return l.GetDefaultFilterChain(), nil
	case 1:
		return chains[0], nil
	}
	return nil, fmt.Errorf("listener %s: chains %q and %q match the same", l.GetName(), chains[0].GetName(), chains[1].GetName())
}

// best keeps the chains with the highest score; 0 is no match.
func best(chains []*listenerv3.FilterChain, score func(*listenerv3.FilterChainMatch) int) []*listenerv3.FilterChain {
	var out []*listenerv3.FilterChain
	top := 0
	for _, c := range chains {
		s := score(c.GetFilterChainMatch())
		if s > top {
			top, out = s, nil
		}
		if s == top && s > 0 {
			out = append(out, c)
		}
	}
	return out
}

func inspects(l *listenerv3.Listener) bool {
	for _, f := range l.GetListenerFilters() {
		if f.GetName() == "envoy.filters.listener.tls_inspector" {
			return true
		}
	}
	return false
}

// socket tells what a chain does with TLS.
func socket(chain *listenerv3.FilterChain, out *Outcome) error {
	s := chain.GetTransportSocket()
	if s == nil {
		return nil
	}
	m, err := s.GetTypedConfig().UnmarshalNew()
	if err != nil {
		return fmt.Errorf("chain %s: %w", chain.GetName(), err)
	}
	tls, ok := m.(*tlsv3.DownstreamTlsContext)
	if !ok {
		return fmt.Errorf("chain %s: unknown transport socket %T", chain.GetName(), m)
	}
	out.TLS = true
	out.MutualTLS = tls.GetRequireClientCertificate().GetValue()
	return nil
}
