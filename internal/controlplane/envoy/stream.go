// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"maps"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// streams is where streams become filter chains.
type streams struct {
	// table is the StreamTable's name; prefix goes before the names of chains.
	table, prefix string
	// socket ends TLS; nil: whatever comes is passed on.
	socket *corev3.TransportSocket
	// taken are the server names that the listener's chains have so far. Envoy refuses a second chain.
	taken map[string]bool
}

// chains makes one chain of each server name of a stream, so that a name that is added or removed changes
// no chain of another one, and one chain of a stream that takes any name or all connections. Nothing is
// made of a stream whose names are all taken.
func (of streams) chains(list []model.Stream, refs refSet) []*listenerv3.FilterChain {
	var out []*listenerv3.FilterChain
	for _, s := range list {
		hosts, rest := of.take(s)
		named := byName(hosts)
		for _, suffix := range slices.Sorted(maps.Keys(named)) {
			c := of.chain(s, refs)
			c.Name += suffix
			c.FilterChainMatch = &listenerv3.FilterChainMatch{TransportProtocol: "tls", ServerNames: named[suffix]}
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
func (of streams) take(s model.Stream) (hosts []string, rest bool) {
	all := s.Hosts
	if all == nil {
		all = []string{""}
	}
	for _, h := range all {
		h = strings.ToLower(h)
		if of.taken[h] {
			continue
		}
		of.taken[h] = true
		if h == "" {
			rest = true
		} else {
			hosts = append(hosts, h)
		}
	}
	return hosts, rest
}

// chain is a chain without a match. Its name is the route's, so that it is found in Envoy's output.
func (of streams) chain(s model.Stream, refs refSet) *listenerv3.FilterChain {
	if s.Source == (model.Object{}) {
		return &listenerv3.FilterChain{ // nothing is to be ended on the way to being closed
			Name:    strings.TrimPrefix(of.prefix+"/closed", "/"),
			Filters: []*listenerv3.Filter{bytesTo(of.table, names.Blackhole, refs)},
		}
	}
	c := &listenerv3.FilterChain{
		Name:    strings.TrimPrefix(of.prefix+"/"+s.Source.Namespace+"/"+s.Source.Name, "/"),
		Filters: []*listenerv3.Filter{bytesAsSent(refs.extension(sentName(of.table, s.Source)))},
	}
	if of.socket != nil {
		c.TransportSocket, c.TransportSocketConnectTimeout = of.socket, duration(handshakeTimeout)
	}
	return c
}

// bytesAsSent is the network filter that Envoy asks for by that name.
func bytesAsSent(name string) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
		ConfigSource: ads(), TypeUrls: []string{tcpProxyType},
	}}}
}

// Sent makes the filter of the chains that a route has by a table. It is a resource of its own (Envoy's
// extension config discovery): a new one is for new connections, and none ends for it.
func Sent(s model.Sent) Resource {
	refs := refSet{}
	filter := bytesToAny(s.Table, s.Backends, s.Affinity, refs)
	name := sentName(s.Table, s.Source)
	return Resource{
		TypeURL: ExtensionType, Name: name, Refs: refs.sorted(),
		Message: &corev3.TypedExtensionConfig{Name: name, TypedConfig: filter.GetTypedConfig()},
	}
}

func sentName(table string, route model.Object) string {
	return names.Stream(table, route.Kind, route.Namespace, route.Name)
}

// byName groups server names by the chain that takes them: each has its own, so that a name that is added
// or removed changes no chain of another one.
func byName(names []string) map[string][]string {
	out := map[string][]string{}
	for _, n := range names {
		out["/"+n] = []string{n}
	}
	return out
}
