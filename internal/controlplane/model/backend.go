// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import "net/netip"

// Transport is how the endpoints of a backend are reached.
type Transport string

// Transports.
const (
	// MeshOnly: every endpoint has a proxy (or there is none yet); mutual TLS, HTTP/2 between proxies.
	MeshOnly Transport = "mesh"
	// Mixed: some have, told apart by each endpoint; HTTP/1.1 where the protocol is HTTP.
	Mixed Transport = "mixed"
	// Plain: none has.
	Plain Transport = "plain"
)

// Backend becomes an Envoy cluster: a Service port as a destination, shared by all proxies.
// It changes only when a user changed something that concerns it; endpoints and identities are apart.
type Backend struct {
	Key       PortKey
	Node      string // set on the variant for internalTrafficPolicy Local
	As        string `json:",omitzero"` // set on the variants of names.Out.As
	Protocol  Protocol
	Transport Transport
	// Affinity: connections of one client address stay with one endpoint.
	Affinity bool
	// Direct: the cluster goes to the original destination, one pod of a headless Service.
	Direct bool
	// Via is the variant, and TLS how it is spoken where Via.TLS is set. ClientCertificate is the Secret
	// of Via.Gateway.
	Via               Via         `json:",omitzero"`
	TLS               *BackendTLS `json:",omitzero"`
	ClientCertificate Key         `json:",omitzero"`
}

// Endpoints become a ClusterLoadAssignment. Sorted by address.
type Endpoints struct {
	Key  PortKey
	Node string
	As   string `json:",omitzero"`
	List []Endpoint
	Via  Via `json:",omitzero"`
	// Near is what clients at certain places use in place of List, sorted by place, each place once. A
	// client goes by the first of its Places that there is an entry for.
	Near []NearEndpoints `json:",omitzero"`
}

// NearEndpoints are those of a port that clients at a place use.
type NearEndpoints struct {
	Place Place
	List  []Endpoint
}

// Endpoint is one address of a backend.
type Endpoint struct {
	Addr netip.AddrPort
	// Meshed endpoints are reached by mutual TLS.
	Meshed bool
	Zone   string
}

// Peers become the Secret with which clients of a Service check it (secure naming).
type Peers struct {
	Service Key
	// Identities are SPIFFE ids, sorted, of the service accounts behind the Service.
	Identities []string
	// Foreign are those of Identities that Gateways do not accept: of other namespaces than the Service's, since Gateways
	// do not use the endpoints that have them.
	Foreign []string `json:",omitzero"`
	// Roots is PEM.
	Roots string
}
