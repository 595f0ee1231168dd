// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"strconv"

	corev3 "github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	inputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// inboundMatcher chooses the chain of a new connection:
//
//	a port of the proxy itself                      loop
//	a server name of the mesh, and by ALPN
//	  tulle-http1                                   mesh-http1
//	  tulle-http2                                   mesh-http2
//	  tulle-any                                     mesh-http if the port speaks HTTP, else mesh-tcp
//	  tulle-tcp                                     the same, but mesh-tcp for a Service port declared to be bytes
//	  h2, http/1.1 (0.2.0, gRPC libraries)          mesh-http2 or mesh-http1, as the port speaks
//	otherwise, in Permissive mode
//	  a TLS hello, or a port that is not HTTP       bytes
//	  a port that speaks HTTP                       plaintext
//	otherwise, in Strict mode                       nothing: closed (but see lateHello)
//
// A rule that chooses no chain is always the last one of its branch.
func inboundMatcher(in model.Inbound) *matcherv3.Matcher {
	m := choice{in.Ports}
	other := toMatcher(m.lateHello())
	if !in.Strict {
		other = m.http(toMatcher(when(transportProtocol(), equals("tls"), to(chainBytes), to(chainPlainHTTP))), to(chainBytes))
	}
	mesh := when(serverName(), hasSuffix("."+names.SNISuffix), toMatcher(m.fromMesh(other)), other)
	return tree(destinationPort(), oneOf(map[string]*matcherv3.Matcher_OnMatch{
		strconv.Itoa(names.PortOutbound): to(chainLoop),
		strconv.Itoa(names.PortInbound):  to(chainLoop),
	}), toMatcher(mesh))
}

// choice makes the parts of the matcher that depend on the ports.
type choice struct{ ports []model.InboundPort }

// fromMesh chooses by what the client's proxy offers first.
func (c choice) fromMesh(other *matcherv3.Matcher_OnMatch) *matcherv3.Matcher {
	// 'h2' may also come after what this release does not know.
	older := when(applicationProtocols(), contains(offered(names.ALPNHTTP)), c.older(),
		toMatcher(when(applicationProtocols(), contains(offered(names.ALPNHTTP1)), c.older(), other)))
	return tree(applicationProtocols(), prefixes(map[string]*matcherv3.Matcher_OnMatch{
		offered(names.ALPNAppHTTP1): to(chainHTTP1),
		offered(names.ALPNAppHTTP2): to(chainHTTP2),
		offered(names.ALPNAny):      c.http(to(chainHTTP), to(chainTCP)),
		offered(names.ALPNTCP):      c.bytes(),
	}), toMatcher(older))
}

// offered is a protocol as Envoy spells it in the list of those that a client offers: 'a','b'.
func offered(alpn string) string { return "'" + alpn + "'" }

// http is yes for ports that speak HTTP, and no for all others.
func (c choice) http(yes, no *matcherv3.Matcher_OnMatch) *matcherv3.Matcher_OnMatch {
	return c.port(no, func(p model.InboundPort) *matcherv3.Matcher_OnMatch {
		if p.Protocol.IsHTTP() {
			return yes
		}
		return nil
	})
}

// older is for clients that do not say how the application is to be asked. A client that speaks HTTP to a
// port that is TCP to us is taken to know better.
func (c choice) older() *matcherv3.Matcher_OnMatch {
	return c.port(to(chainHTTP1), func(p model.InboundPort) *matcherv3.Matcher_OnMatch {
		if p.Protocol == model.HTTP2 || p.Protocol == model.GRPC {
			return to(chainHTTP2)
		}
		return nil
	})
}

// bytes is for clients that send bytes. To a port that speaks HTTP they are HTTP, whatever the client
// thinks: as bytes the application would be shown any x-forwarded-client-cert that the client writes. Only
// the pod's own namespace can say otherwise, by a Service port that is declared to be bytes.
func (c choice) bytes() *matcherv3.Matcher_OnMatch {
	return c.port(to(chainTCP), func(p model.InboundPort) *matcherv3.Matcher_OnMatch {
		if !p.Protocol.IsHTTP() {
			return nil
		}
		if len(p.Bytes) == 0 {
			return to(chainHTTP)
		}
		declared := map[string]*matcherv3.Matcher_OnMatch{}
		for _, k := range p.Bytes {
			declared[names.SNIOf(k.Service.Namespace, k.Service.Name, k.Port)] = to(chainTCP)
		}
		return toMatcher(tree(serverName(), oneOf(declared), to(chainHTTP)))
	})
}

// lateHello takes what sent nothing until the inspector's time was over, or plaintext. In Strict mode the
// former may still become a connection of the mesh, since a busy node or a lost packet can delay a hello;
// the latter fails its handshake. What the hello says is not known here, so the port decides.
func (c choice) lateHello() *matcherv3.Matcher {
	return when(transportProtocol(), equals("raw_buffer"), c.http(c.older(), to(chainTCP)), nil)
}

// port chooses by destination port; by gives nil for ports that are like all others.
func (c choice) port(others *matcherv3.Matcher_OnMatch, by func(model.InboundPort) *matcherv3.Matcher_OnMatch) *matcherv3.Matcher_OnMatch {
	ports := map[string]*matcherv3.Matcher_OnMatch{}
	for _, p := range c.ports {
		if m := by(p); m != nil {
			ports[strconv.Itoa(int(p.Port))] = m
		}
	}
	if len(ports) == 0 {
		return others
	}
	return toMatcher(tree(destinationPort(), oneOf(ports), others))
}

// when is yes if the value fits, and otherwise no; nil chooses no chain.
func when(input *corev3.TypedExtensionConfig, value *matcherv3.StringMatcher, yes, no *matcherv3.Matcher_OnMatch) *matcherv3.Matcher {
	return &matcherv3.Matcher{
		MatcherType: &matcherv3.Matcher_MatcherList_{MatcherList: &matcherv3.Matcher_MatcherList{
			Matchers: []*matcherv3.Matcher_MatcherList_FieldMatcher{{
				Predicate: &matcherv3.Matcher_MatcherList_Predicate{
					MatchType: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
						SinglePredicate: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
							Input:   input,
							Matcher: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: value},
						},
					},
				},
				OnMatch: yes,
			}},
		}},
		OnNoMatch: no,
	}
}

func tree(input *corev3.TypedExtensionConfig, values func(*matcherv3.Matcher_MatcherTree), no *matcherv3.Matcher_OnMatch) *matcherv3.Matcher {
	t := &matcherv3.Matcher_MatcherTree{Input: input}
	values(t)
	return &matcherv3.Matcher{MatcherType: &matcherv3.Matcher_MatcherTree_{MatcherTree: t}, OnNoMatch: no}
}

func oneOf(m map[string]*matcherv3.Matcher_OnMatch) func(*matcherv3.Matcher_MatcherTree) {
	return func(t *matcherv3.Matcher_MatcherTree) {
		t.TreeType = &matcherv3.Matcher_MatcherTree_ExactMatchMap{ExactMatchMap: &matcherv3.Matcher_MatcherTree_MatchMap{Map: m}}
	}
}

func prefixes(m map[string]*matcherv3.Matcher_OnMatch) func(*matcherv3.Matcher_MatcherTree) {
	return func(t *matcherv3.Matcher_MatcherTree) {
		t.TreeType = &matcherv3.Matcher_MatcherTree_PrefixMatchMap{PrefixMatchMap: &matcherv3.Matcher_MatcherTree_MatchMap{Map: m}}
	}
}

// to chooses a filter chain.
func to(chain string) *matcherv3.Matcher_OnMatch {
	return &matcherv3.Matcher_OnMatch{OnMatch: &matcherv3.Matcher_OnMatch_Action{Action: extension(chain, wrapperspb.String(chain))}}
}

func toMatcher(m *matcherv3.Matcher) *matcherv3.Matcher_OnMatch {
	return &matcherv3.Matcher_OnMatch{OnMatch: &matcherv3.Matcher_OnMatch_Matcher{Matcher: m}}
}

func equals(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
}

func hasSuffix(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: s}}
}

func contains(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Contains{Contains: s}}
}

func destinationPort() *corev3.TypedExtensionConfig {
	return extension("envoy.matching.inputs.destination_port", &inputsv3.DestinationPortInput{})
}

func serverName() *corev3.TypedExtensionConfig {
	return extension("envoy.matching.inputs.server_name", &inputsv3.ServerNameInput{})
}

func transportProtocol() *corev3.TypedExtensionConfig {
	return extension("envoy.matching.inputs.transport_protocol", &inputsv3.TransportProtocolInput{})
}

func applicationProtocols() *corev3.TypedExtensionConfig {
	return extension("envoy.matching.inputs.application_protocol", &inputsv3.ApplicationProtocolInput{})
}
