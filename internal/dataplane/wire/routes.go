// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package wire

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of envoy.config.route.v3.RouteConfiguration and VirtualHost.
const (
	configName  = 1
	configHosts = 2
	hostName    = 1
	hostDomains = 2
	hostRoutes  = 3
)

// AppendRouteConfiguration appends the beginning of a RouteConfiguration: its name, and the fields that
// are encoded in rest, which has neither name nor virtual hosts.
func AppendRouteConfiguration(b []byte, name string, rest []byte) []byte {
	return append(appendString(b, configName, name), rest...)
}

// AppendVirtualHost appends a virtual host to a RouteConfiguration. rest are its encoded fields but for
// name, domains and routes; a route is an encoded Route.
func AppendVirtualHost(b []byte, domains []string, rest []byte, routes [][]byte) []byte {
	name := strings.Join(domains, ",")
	size := sizeOf(hostName, len(name)) + len(rest)
	for _, d := range domains {
		size += sizeOf(hostDomains, len(d))
	}
	for _, r := range routes {
		size += sizeOf(hostRoutes, len(r))
	}
	b = protowire.AppendTag(b, configHosts, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size)) //nolint:gosec // a size is not negative
	b = appendElement(b, hostName, name)
	for _, d := range domains {
		b = appendElement(b, hostDomains, d)
	}
	b = append(b, rest...)
	for _, r := range routes {
		b = protowire.AppendTag(b, hostRoutes, protowire.BytesType)
		b = protowire.AppendBytes(b, r)
	}
	return b
}

func sizeOf(field protowire.Number, n int) int {
	return protowire.SizeTag(field) + protowire.SizeBytes(n)
}
