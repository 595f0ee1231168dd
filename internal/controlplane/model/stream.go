// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

// StreamTable says where connections of a listener, or datagrams, go as bytes: what TLSRoutes,
// TCPRoutes and UDPRoutes say of a Gateway's listener or a Service port. Which connections a route takes
// is said in the listener (Taken), what it does with them in a resource of its own (Sent): Envoy ends the
// connections of a filter chain that is changed. Of datagrams all is in the listener.
type StreamTable struct {
	// Name is names.Out of the Service port; names.GatewaySection or names.GatewayUDPPort of a listener.
	Name string
	// UDP: they are datagrams.
	UDP     bool `json:",omitzero"`
	Streams []Stream
}

// Stream is what one route does with the connections that it takes.
type Stream struct {
	// Name is the rule's name in its route, if any. Source is the route; it is empty for the stream that
	// closes what no route takes, so that it does not fall to a listener with a broader host name.
	Name   string
	Source Object
	// Hosts are the TLS server names that are taken: exact or "*.example.com", and "" for any. None:
	// connections are taken without a look at them. No host stands in two streams of a table.
	Hosts []string
	// Backends by weight; the share of an invalid one, and everything if there is none, is closed or dropped.
	Backends []WeightedBackend
	// Affinity keeps the connections of one client address on one endpoint.
	Affinity bool
}

// Sent is what one route does with the connections that it takes by the StreamTable of that name.
type Sent struct {
	Table    string
	Source   Object
	Backends []WeightedBackend
	Affinity bool `json:",omitzero"`
}

// Taken are the streams without what is Sent.
func (t StreamTable) Taken() []Stream {
	if t.UDP {
		return t.Streams
	}
	var out []Stream
	for _, s := range t.Streams {
		out = append(out, Stream{Source: s.Source, Hosts: s.Hosts})
	}
	return out
}

// Sent is what is done with the connections of each stream that comes from a route.
func (t StreamTable) Sent() []Sent {
	if t.UDP {
		return nil
	}
	var out []Sent
	for _, s := range t.Streams {
		if s.Source != (Object{}) {
			out = append(out, Sent{t.Name, s.Source, s.Backends, s.Affinity})
		}
	}
	return out
}

// Backends returns the backends that the table's streams name, sorted, each once, without invalid ones.
// With from set, only those of streams that come from that route.
func (t StreamTable) Backends(from Object) []BackendName {
	var out []BackendName
	for _, s := range t.Streams {
		if from != (Object{}) && s.Source != from {
			continue
		}
		for _, b := range s.Backends {
			if !b.Invalid {
				out = append(out, b.Name())
			}
		}
	}
	return distinctNames(out)
}

// From returns the streams that come from a route, in order.
func (t StreamTable) From(route Object) []Stream {
	var out []Stream
	for _, s := range t.Streams {
		if s.Source == route {
			out = append(out, s)
		}
	}
	return out
}
