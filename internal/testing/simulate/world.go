// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package simulate

import (
	"fmt"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"tulle.dev/tulle/internal/controlplane/envoy"
)

// World is what one proxy holds.
type World struct {
	listeners []*listenerv3.Listener
	routes    map[string]*routev3.RouteConfiguration
	filters   map[string]*corev3.TypedExtensionConfig
	clusters  map[string]bool
}

// New makes the World of the resources; types that don't decide where requests go are left out.
func New(resources []envoy.Resource) World {
	w := World{routes: map[string]*routev3.RouteConfiguration{}, filters: map[string]*corev3.TypedExtensionConfig{}, clusters: map[string]bool{}}
	for _, r := range resources {
		switch m := r.Message.(type) {
		case *listenerv3.Listener:
			w.listeners = append(w.listeners, m)
		case *routev3.RouteConfiguration:
			w.routes[r.Name] = m
		case *corev3.TypedExtensionConfig:
			w.filters[r.Name] = m
		}
		if r.TypeURL == envoy.ClusterType {
			w.clusters[r.Name] = true
		}
	}
	return w
}

// Connection is a connection that arrives at a listener.
type Connection struct {
	// Listener is the name of the listener that accepts it.
	Listener string `json:"listener"`
	// To is where the client meant to go: the original destination.
	To netip.AddrPort `json:"to"`
	// TLS is set if the connection begins with a TLS hello.
	TLS *Hello `json:"tls,omitempty"`
	// Request is sent over it; nil: bytes.
	Request *Request `json:"request,omitempty"`
}

// Hello is what a TLS client says in the clear.
type Hello struct {
	SNI  string   `json:"sni,omitempty"`
	ALPN []string `json:"alpn,omitempty"`
}

// Outcome is what becomes of a connection and its request. The zero value of a field means that it does not apply.
type Outcome struct {
	// Listener is the one that the connection was handed to.
	Listener string `json:"listener,omitempty"`
	// Closed: no chain takes the connection.
	Closed bool `json:"closed,omitempty"`
	// MutualTLS: the client had to show a certificate of the mesh. TLS: the listener ends TLS.
	MutualTLS bool `json:"mutualTLS,omitempty"`
	TLS       bool `json:"tls,omitempty"`
	// HTTP: requests are looked at; otherwise bytes pass.
	HTTP bool `json:"http,omitempty"`
	// Status is answered by the proxy itself, Location with it.
	Status   int    `json:"status,omitempty"`
	Location string `json:"location,omitempty"`
	// Rule is the name of the route.
	Rule string `json:"rule,omitempty"`
	// Clusters are where it goes, with weights; a single one has weight 1.
	Clusters map[string]uint32 `json:"clusters,omitempty"`
	// Host and Path are what the backend gets, where they differ from the request's.
	Host string `json:"host,omitempty"`
	Path string `json:"path,omitempty"`
	// Headers are request headers as the backend gets them, where they differ; removed ones are "".
	// With several clusters: those of the rule, not of the shares.
	Headers map[string]string `json:"headers,omitempty"`
	// Shares are the request headers that differ by cluster.
	Shares map[string]map[string]string `json:"shares,omitempty"`
	// Response are the response headers that are set or removed ("").
	Response map[string]string `json:"response,omitempty"`
	// Mirrors are clusters with their parts of a million.
	Mirrors map[string]uint32 `json:"mirrors,omitempty"`
	// Timeout and TryTimeout as Go writes durations; Retries and RetryOn are the policy in force.
	Timeout    string `json:"timeout,omitempty"`
	TryTimeout string `json:"tryTimeout,omitempty"`
	Retries    uint32 `json:"retries,omitempty"`
	RetryOn    string `json:"retryOn,omitempty"`
	// Hashed: requests of one client address stay with one endpoint.
	Hashed bool `json:"hashed,omitempty"`
}

// Connect says what becomes of c.
func (w World) Connect(c Connection) (Outcome, error) {
	l, err := w.listener(c)
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{Listener: l.GetName()}
	if l.GetUdpListenerConfig() != nil {
		err := w.datagrams(l, &out)
		return out, err
	}
	chain, err := choose(l, c)
	if err != nil {
		return Outcome{}, err
	}
	if chain == nil {
		out.Closed = true
		return out, nil
	}
	if err := socket(chain, &out); err != nil {
		return Outcome{}, err
	}
	if out.TLS && c.TLS == nil { // the handshake fails
		return Outcome{Listener: l.GetName(), Closed: true}, nil
	}
	if n := len(chain.GetFilters()); n != 1 {
		return Outcome{}, fmt.Errorf("listener %s: chain %q has %d filters, not 1", l.GetName(), chain.GetName(), n)
	}
	filter := chain.GetFilters()[0]
	config := filter.GetTypedConfig()
	if filter.GetConfigDiscovery() != nil {
		config = w.filters[filter.GetName()].GetTypedConfig()
	}
	m, err := config.UnmarshalNew()
	if err != nil {
		return Outcome{}, fmt.Errorf("listener %s: %w", l.GetName(), err)
	}
	switch f := m.(type) {
	case *tcpv3.TcpProxy:
		err = w.bytes(f, &out)
	case *hcmv3.HttpConnectionManager:
		err = w.http(f, c, &out)
	default:
		err = fmt.Errorf("unknown network filter %T", m)
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("listener %s: %w", l.GetName(), err)
	}
	return out, nil
}

// listener finds the one that accepts c and hands it on to the one at the original destination.
func (w World) listener(c Connection) (*listenerv3.Listener, error) {
	var first, exact *listenerv3.Listener
	for _, l := range w.listeners {
		if l.GetName() == c.Listener {
			first = l
		}
		if at(l, c.To) {
			exact = l
		}
	}
	if first == nil {
		return nil, fmt.Errorf("no listener %q", c.Listener)
	}
	if first.GetUseOriginalDst().GetValue() && exact != nil {
		return exact, nil
	}
	return first, nil
}

func at(l *listenerv3.Listener, to netip.AddrPort) bool {
	addresses := []*corev3.Address{l.GetAddress()}
	for _, a := range l.GetAdditionalAddresses() {
		addresses = append(addresses, a.GetAddress())
	}
	for _, a := range addresses {
		s := a.GetSocketAddress()
		if s.GetAddress() == to.Addr().String() && s.GetPortValue() == uint32(to.Port()) {
			return true
		}
	}
	return false
}

func (w World) bytes(p *tcpv3.TcpProxy, out *Outcome) error {
	out.Clusters = map[string]uint32{}
	out.Hashed = len(p.GetHashPolicy()) > 0
	if name := p.GetCluster(); name != "" {
		out.Clusters[name] = 1
	}
	for _, c := range p.GetWeightedClusters().GetClusters() {
		out.Clusters[c.GetName()] += c.GetWeight()
	}
	for name := range out.Clusters {
		if !w.clusters[name] {
			return fmt.Errorf("bytes go to cluster %q, which does not exist", name)
		}
	}
	return nil
}
