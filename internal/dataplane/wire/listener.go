// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of envoy.config.listener.v3.Listener and FilterChain, and of envoy.config.cluster.v3.Cluster.
const (
	listenerName         = 1
	listenerChains       = 3
	listenerDefaultChain = 25
	listenerMatcher      = 32

	chainMatch = 1
	chainName  = 7

	clusterName = 1
	clusterEDS  = 3

	edsName = 2
)

// Listener is an encoded Listener, taken apart as far as an agent puts it together differently.
type Listener struct {
	// Name is the listener's own name.
	Name string
	// Rest is every field but the name and the filter chains, encoded, in the order of the message.
	Rest []byte
	// Chains are the encoded filter chains.
	Chains [][]byte
	// Selects is true where something of the listener or of its chains selects the chain of a connection:
	// a filter_chain_match, a filter_chain_matcher or a default chain.
	Selects bool
}

// ParseListener takes an encoded Listener apart. The parts are slices of b.
func ParseListener(b []byte) (Listener, error) {
	var l Listener
	for len(b) > 0 {
		n, t, size := protowire.ConsumeField(b)
		if size < 0 {
			return l, protowire.ParseError(size)
		}
		field := b[:size]
		b = b[size:]
		if t != protowire.BytesType || n != listenerName && n != listenerChains {
			l.Rest = append(l.Rest, field...)
			l.Selects = l.Selects || n == listenerDefaultChain || n == listenerMatcher
			continue
		}
		_, _, tag := protowire.ConsumeTag(field)
		value, _ := protowire.ConsumeBytes(field[tag:])
		if n == listenerName {
			l.Name = string(value)
			continue
		}
		l.Chains = append(l.Chains, value)
		if err := each(value, func(n protowire.Number, _ []byte, _ uint64) error {
			l.Selects = l.Selects || n == chainMatch
			return nil
		}); err != nil {
			return l, err
		}
	}
	return l, nil
}

// Marshal encodes the listener. With several chains the first one takes all new connections.
func (l Listener) Marshal() []byte {
	b := appendString(nil, listenerName, l.Name)
	b = append(b, l.Rest...)
	for _, c := range l.Chains {
		b = protowire.AppendBytes(protowire.AppendTag(b, listenerChains, protowire.BytesType), c)
	}
	if len(l.Chains) > 1 {
		b = appendBytes(b, listenerMatcher, chosen(nameOf(l.Chains[0])))
	}
	return b
}

// chosen encodes an xds.type.matcher.v3.Matcher that chooses the chain of that name for every connection:
// on_no_match of a matcher without any match.
func chosen(chain string) []byte {
	value := appendString(nil, 1, chain) // google.protobuf.StringValue
	packed := appendBytes(appendString(nil, 1, "type.googleapis.com/google.protobuf.StringValue"), 2, value)
	action := appendBytes(appendString(nil, 1, "filter-chain"), 2, packed) // TypedExtensionConfig
	return appendBytes(nil, 3, appendBytes(nil, 2, action))
}

// NamedByContent returns a filter chain with a name that tells it from every chain with other contents.
// The name that it had stays in front, so that it is found in Envoy's output.
func NamedByContent(chain []byte) []byte {
	sum := sha256.Sum256(chain)
	name := hex.EncodeToString(sum[:8])
	if had := nameOf(chain); had != "" {
		name = had + "#" + name
	}
	out := make([]byte, 0, len(chain)+len(name)+2)
	return appendString(append(out, chain...), chainName, name) // of a field that is there twice, the last one counts
}

// nameOf is the name of an encoded filter chain.
func nameOf(chain []byte) (name string) {
	_ = each(chain, func(n protowire.Number, v []byte, _ uint64) error {
		if n == chainName {
			name = string(v)
		}
		return nil
	})
	return name
}

// Conflict reports whether two encoded filter chains cannot be in one listener, or would be taken for each
// other: they have the same name or the same match.
func Conflict(a, b []byte) bool { return nameOf(a) == nameOf(b) || bytes.Equal(matchOf(a), matchOf(b)) }

// matchOf is the encoded match of an encoded filter chain.
func matchOf(chain []byte) (match []byte) {
	_ = each(chain, func(n protowire.Number, v []byte, _ uint64) error {
		if n == chainMatch {
			match = v
		}
		return nil
	})
	return match
}

// Renamed returns a RouteConfiguration under another name.
func Renamed(routes []byte, name string) []byte {
	out := make([]byte, 0, len(routes)+len(name)+2)
	return appendString(append(out, routes...), configName, name)
}

// AppendFilterChains adds encoded FilterChains to an encoded Listener.
func AppendFilterChains(listener []byte, chains [][]byte) []byte {
	for _, c := range chains {
		listener = appendBytes(listener, listenerChains, c)
	}
	return listener
}

// EndpointsName is the name of the ClusterLoadAssignment that an encoded Cluster asks for, if it says one.
func EndpointsName(cluster []byte) (name string) {
	_ = each(cluster, func(n protowire.Number, v []byte, _ uint64) error {
		if n != clusterEDS {
			return nil
		}
		return each(v, func(n protowire.Number, v []byte, _ uint64) error {
			if n == edsName {
				name = string(v)
			}
			return nil
		})
	})
	return name
}

// AppendClusterName gives an encoded Cluster another name: of a field that is there twice, the last counts.
func AppendClusterName(cluster []byte, name string) []byte {
	return appendString(cluster, clusterName, name)
}
