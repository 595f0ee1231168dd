// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

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

// chains makes one chain of each stream. Its name is the route's, so that it is found in Envoy's output.
func (of streams) chains(list []model.Stream, refs refSet) []*listenerv3.FilterChain {
	var out []*listenerv3.FilterChain
	for _, s := range list {
		c := &listenerv3.FilterChain{
			Name:    strings.Trim(of.prefix+"/"+s.Source.Namespace+"/"+s.Source.Name, "/"),
			Filters: []*listenerv3.Filter{bytesToAny(of.stat, s.Backends, s.Affinity, refs)},
		}
		closes := s.Source == (model.Object{})
		if closes {
			c.Name = strings.TrimPrefix(of.prefix+"/closed", "/")
		}
		// Nothing is to be ended on the way to being closed.
		if of.socket != nil && !closes {
			c.TransportSocket, c.TransportSocketConnectTimeout = of.socket, duration(handshakeTimeout)
		}
		if s.Hosts == nil {
			if !of.taken[""] {
				of.taken[""] = true
				out = append(out, c)
			}
			continue
		}
		c.FilterChainMatch = &listenerv3.FilterChainMatch{TransportProtocol: "tls"}
		all := false
		for _, h := range s.Hosts {
			h = strings.ToLower(h)
			if of.taken[h] {
				continue
			}
			of.taken[h] = true
			if h == "" {
				all = true
			} else {
				c.FilterChainMatch.ServerNames = append(c.FilterChainMatch.ServerNames, h)
			}
		}
		if len(c.GetFilterChainMatch().GetServerNames()) > 0 {
			out = append(out, c)
		}
		if all {
			rest := proto.Clone(c).(*listenerv3.FilterChain)
			rest.Name += "/any"
			rest.FilterChainMatch.ServerNames = nil
			out = append(out, rest)
		}
	}
	return out
}
