// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"tulle.dev/tulle/internal/controlplane/model"
)

// streams is where streams become filter chains.
type streams struct {
	// stat names the connections in Envoy's statistics; prefix goes before the names of chains.
	stat, prefix string
	// socket ends TLS; nil: whatever comes is passed on.
	socket *corev3.TransportSocket
	// taken are the server names that the listener's chains have so far. Envoy refuses a second chain.
	taken map[string]bool
}

// chains makes one chain of each stream, and a second one where it takes any name beside some. Nothing
// is made of a stream whose names are all taken.
func (of streams) chains(list []model.Stream, refs refSet) []*listenerv3.FilterChain {
	var out []*listenerv3.FilterChain
	for _, s := range list {
		names, rest := of.take(s)
		if len(names) > 0 {
			c := of.chain(s, refs)
			c.FilterChainMatch = &listenerv3.FilterChainMatch{TransportProtocol: "tls", ServerNames: names}
			out = append(out, c)
		}
		if !rest {
			continue
		}
		c := of.chain(s, refs)
		if s.Hosts != nil {
			c.Name += "/any"
			c.FilterChainMatch = &listenerv3.FilterChainMatch{TransportProtocol: "tls"}
		}
		out = append(out, c)
	}
	return out
}

// take takes what a stream can have: server names, and the rest if that is what it takes.
func (of streams) take(s model.Stream) (names []string, rest bool) {
	hosts := s.Hosts
	if hosts == nil {
		hosts = []string{""}
	}
	for _, h := range hosts {
		h = strings.ToLower(h)
		if of.taken[h] {
			continue
		}
		of.taken[h] = true
		if h == "" {
			rest = true
		} else {
			names = append(names, h)
		}
	}
	return names, rest
}

// chain is a chain without a match. Its name is the route's, so that it is found in Envoy's output.
func (of streams) chain(s model.Stream, refs refSet) *listenerv3.FilterChain {
	c := &listenerv3.FilterChain{Filters: []*listenerv3.Filter{bytesToAny(of.stat, s.Backends, s.Affinity, refs)}}
	if s.Source == (model.Object{}) {
		// Nothing is to be ended on the way to being closed.
		c.Name = strings.TrimPrefix(of.prefix+"/closed", "/")
		return c
	}
	c.Name = strings.TrimPrefix(of.prefix+"/"+s.Source.Namespace+"/"+s.Source.Name, "/")
	if of.socket != nil {
		c.TransportSocket, c.TransportSocketConnectTimeout = of.socket, duration(handshakeTimeout)
	}
	return c
}
