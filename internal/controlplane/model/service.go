// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import (
	"net/netip"
	"strconv"
)

// Key names a namespaced object.
type Key struct{ Namespace, Name string }

// String spells NAMESPACE/NAME.
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// PortKey names a port of a Service by its number.
type PortKey struct {
	Service Key
	Port    uint16
}

// String spells NAMESPACE/NAME:PORT.
func (k PortKey) String() string { return k.Service.String() + ":" + strconv.Itoa(int(k.Port)) }

// MaxPorts bounds the ports of a Service that are served, since each of them has a listener, a table of routes, a
// cluster and endpoints in every proxy.
const MaxPorts = 256

// Service is a Kubernetes Service, trimmed to what matters here.
type Service struct {
	Key
	// VIPs are the cluster addresses; none for headless Services and ExternalName.
	VIPs []netip.Addr
	// Headless is clusterIP None. ExternalName is the DNS name of an ExternalName Service, else empty.
	Headless     bool
	ExternalName string
	// Ports are at most MaxPorts for TCP and MaxPorts for UDP, in the order of the object.
	Ports []ServicePort
	// MorePorts is how many TCP ports are left out of Ports. Proxies have no listeners for them, and no route can
	// refer to them: see Resolved.More.
	MorePorts int
	// LocalTraffic is internalTrafficPolicy Local: clients use only endpoints of their own node.
	LocalTraffic bool
	// AffinitySeconds is the ClientIP session affinity's timeout; 0 is none.
	AffinitySeconds int32
	// LoadBalancer are the addresses or host names in status.loadBalancer, sorted.
	LoadBalancer []string
	// Balanced and External are addresses that kube-proxy takes for the Service's own, beside the cluster
	// addresses, each sorted. Balanced are those of load balancers: not those that the load balancer itself
	// must see (ipMode Proxy), and none where the Service restricts who may use them
	// (loadBalancerSourceRanges). External are spec.externalIPs, which nothing but its author vouches for.
	Balanced []netip.Addr
	External []netip.Addr
	// OuterPorts and NodePorts are the numbers, sorted, of all ports of the object, for TCP and UDP, on which kube-proxy takes
	// connections to the addresses in LoadBalancer, Balanced and External, and to nodes.
	OuterPorts, NodePorts []uint16
	// LocalNodePorts is externalTrafficPolicy Local: a node port leads to the node's own endpoints.
	LocalNodePorts bool
	// Gateway is the Gateway of the same namespace that the operator made the Service for; empty for others.
	Gateway string
	// Published are the addresses and host names by which clients reach a Gateway's Service; none for others.
	Published []string
}

// ServicePort is one port of a Service.
type ServicePort struct {
	Name     string
	Port     uint16
	Protocol Protocol
	// Declared is false where Protocol is only the default. Fixed is true where appProtocol decided: then no
	// route may say otherwise, as it may where the port's name or number did.
	Declared bool
	Fixed    bool `json:",omitzero"`
	// NodePort is the port on every node that leads to this one; 0 is none.
	NodePort uint16
}

// Slice is an EndpointSlice, trimmed.
type Slice struct {
	Key
	Service   Key
	Ports     []SlicePort
	Endpoints []SliceEndpoint
}

// SlicePort is a port of a slice; Name joins it to the ServicePort of the same name.
type SlicePort struct {
	Name string
	Port uint16
	UDP  bool // otherwise TCP
}

// SliceEndpoint is one address of a slice.
type SliceEndpoint struct {
	Addr netip.Addr
	// Pod is the pod behind the address where the slice names one (targetRef), else zero.
	Pod                         Key
	Node, Zone                  string
	Ready, Serving, Terminating bool
	Hints                       *Hints // nil: none
}

// Hints are the zones and the nodes whose clients should use an endpoint, sorted, each once. Values are
// shared and never changed. Most endpoints have none, so they are behind a pointer.
type Hints struct{ Zones, Nodes []string }

// Namespace is a namespace and what it says about injection.
type Namespace struct {
	Name string
	// Meshed is true where the Mesh's injection selector or the inject label takes the namespace in.
	Meshed bool
	Labels []Label // sorted by name; for Gateway listeners' namespace selectors
}

// Label is a name and a value.
type Label struct{ Name, Value string }
