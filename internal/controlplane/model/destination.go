// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import "net/netip"

// Destination is what is at an address and port that have no listener of their own, for a client that
// connects to it. At most one of Account, Service and Closed is set; with none, connections pass untouched.
type Destination struct {
	Addr netip.AddrPort
	// Account is the service account of the meshed pod whose address it is, as namespace and name.
	Account Key `json:",omitzero"`
	// Service is the Service port that the address leads to by a load balancer, an external IP or a node
	// port, if at least one endpoint is meshed, or by a cluster address on one of Service.MorePorts. Transport and
	// Affinity are that port's.
	Service   PortKey   `json:",omitzero"`
	Transport Transport `json:",omitzero"`
	Affinity  bool      `json:",omitzero"`
	// Original: the address is a cluster address of the Service, whose endpoints are all meshed. Connections keep
	// their destination, and kube-proxy chooses the endpoint.
	Original bool `json:",omitzero"`
	// Local: only Endpoints count, those of one node. Else the endpoints are the Service port's own.
	Local     bool      `json:",omitzero"`
	Endpoints Endpoints `json:",omitzero"`
	// Closed: it is a meshed pod's, but there are too many destinations. Connections are closed, so that they do
	// not pass in plaintext.
	Closed bool `json:",omitzero"`
}

// DemandChain are networks whose addresses proxies ask for when a connection goes there and no listener
// has its destination.
type DemandChain struct {
	Name     string
	Prefixes []netip.Prefix
}

// AccountPeer is a service account whose pods clients reach by address.
type AccountPeer struct {
	Account  Key
	Identity string // the SPIFFE id
	Roots    string // PEM
}
