// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import (
	"net/netip"
	"slices"

	"tulle.dev/tulle/internal/names"
)

// Workload is a pod. Its identity is what its ServiceAccount says.
type Workload struct {
	Key
	UID       string
	Addresses []netip.Addr
	Node      string
	// NodeAddresses are the addresses of the pod's node, as the pod's status has them.
	NodeAddresses  []netip.Addr
	ServiceAccount string
	HostNetwork    bool
	// Kind is names.KindSidecar, names.KindGateway, names.KindClient for an application that is itself a
	// client of the control plane, or empty.
	Kind string
	// Gateway is the Gateway a KindGateway pod serves.
	Gateway string
	// Ready is the pod's Ready condition; Ended is phase Succeeded or Failed.
	Ready, Ended bool
	// ExcludedInboundPorts are served without the proxy: sorted, each once, and at most
	// protocol.MaxExcludedInboundPorts.
	ExcludedInboundPorts []uint16
	// Proxy settings from the pod's annotations; zero: the mesh's.
	LogLevel     string
	Concurrency  int
	DrainSeconds int32
	// Version and Revision of the injected proxy.
	Version, Revision string
}

// Meshed tells whether peers may speak mutual TLS to port of this workload. A Gateway's proxy has an
// identity for what it sends, but its listeners are its users'.
func (w Workload) Meshed(port uint16) bool {
	if w.Kind == "" || w.Kind == names.KindClient || w.Gateway != "" || w.HostNetwork {
		return false
	}
	_, excluded := slices.BinarySearch(w.ExcludedInboundPorts, port)
	return !excluded
}

// HasAddress tells whether an address is one of the workload's. It is the rule by which a key or a token is
// of use only in its own pod: both the signing port and the ADS port apply it to where a request comes from.
func (w Workload) HasAddress(from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	return from.IsValid() && slices.ContainsFunc(w.Addresses, func(a netip.Addr) bool { return a.Unmap().WithZone("") == from })
}

// Inbound is what a sidecar serves for its pod.
type Inbound struct {
	Pod    Key
	Strict bool
	// Ports are the application's ports whose protocol is known, sorted by number: those that a
	// Service of the pod's namespace targets. On all others bytes pass as they are.
	Ports []InboundPort
	// Excluded ports never reach the proxy; listed so that config shown to people is complete.
	Excluded []uint16
}

// InboundPort is one port of the application.
type InboundPort struct {
	Port uint16
	// Protocol is for connections that do not say what the application is to be asked with.
	Protocol Protocol
	// Bytes are the Service ports that lead here and are declared to be bytes, sorted; only set where
	// Protocol is HTTP for the sake of others.
	Bytes []PortKey `json:",omitzero"`
}

// Settings are the mesh-wide settings that translation reads; from the Mesh resource.
type Settings struct {
	TrustDomain string
	Strict      bool
	// Version is the release, DefaultDrainSeconds and the rest are for proxies that don't say.
	Version                    string
	LogLevel                   string
	Concurrency                int
	DrainSeconds               int32
	CertificateLifetimeSeconds int64
	// RenewIssuedBefore is protocol.Proxy's, in seconds since 1970.
	RenewIssuedBefore int64 `json:",omitzero"` // versions of what does not say it stay as they were
}
