// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

import (
	"fmt"
	"net/netip"
	"strings"
)

// destinationPrefix begins the names of clusters that Envoy asks for when it connects to an address
// that has no listener. What follows is the address as Envoy's %DOWNSTREAM_LOCAL_ADDRESS% writes it.
const destinationPrefix = "to/"

// accountPrefix begins the names that Account makes.
const accountPrefix = "account/"

// DestinationFormat is the format string by which Envoy names the cluster of a connection.
const DestinationFormat = destinationPrefix + "%DOWNSTREAM_LOCAL_ADDRESS%"

// Destination names the Cluster, and where it has endpoints the ClusterLoadAssignment, for connections
// to an address and port that no listener has.
func Destination(a netip.AddrPort) string { return destinationPrefix + a.String() }

// IsDestination reports whether a name begins as those that Destination makes.
func IsDestination(name string) bool { return strings.HasPrefix(name, destinationPrefix) }

// IsOnDemand reports whether a name is of what is made only when a proxy connects to a destination.
func IsOnDemand(name string) bool {
	return IsDestination(name) || strings.HasPrefix(name, accountPrefix)
}

// ParseDestination reads what Destination writes.
func ParseDestination(name string) (netip.AddrPort, error) {
	rest, ok := strings.CutPrefix(name, destinationPrefix)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("%q is not to/ADDRESS:PORT", name)
	}
	a, err := netip.ParseAddrPort(rest)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q: %w", name, err)
	}
	if a.Port() == 0 || a.Addr().Zone() != "" || Destination(a) != name {
		return netip.AddrPort{}, fmt.Errorf("%q is not how an address and port are written", name)
	}
	return a, nil
}

// Account names the Secret by which clients check a pod by its service account: roots and one SPIFFE id.
func Account(namespace, serviceAccount string) string {
	return accountPrefix + namespace + "/" + serviceAccount
}
