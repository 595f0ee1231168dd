// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

import (
	"net/netip"
	"strings"
	"testing"
)

// TestMaxLength: no name of a resource is longer than MaxLength, with names of objects as long as
// Kubernetes and the Gateway API allow: 63 bytes for namespaces and Services, 253 for all others.
func TestMaxLength(t *testing.T) {
	label, name := strings.Repeat("l", 63), strings.Repeat("n", 253)
	out := Out{Namespace: label, Service: label, Port: 65535, As: AsDatagrams, Node: name}
	gateway := Out{Namespace: label, Service: label, Port: 65535, GatewayNamespace: label, Gateway: name}
	section := GatewaySection(label, name, 65535, name)
	longest := 0
	for _, n := range []string{
		out.String(), gateway.String(), Client(out.String()), Direct(label, label, 65535), PodListener(label, name, 65535), Inbound(label, name),
		section, GatewayUDPPort(label, name, 65535), RoutePart(section, "HTTPRoute", label, name), Stream(section, "HTTPRoute", label, name),
		Stream(out.String(), "HTTPRoute", label, name), SAN(label, label), GatewayTLS(label, name, label, name), BackendCA(label, label, 65535),
		GatewayClients(label, name, 65535), ScopeSidecar(label, name), ScopeGateway(label, name), ScopeMeshFor(label), ScopeConsumer(label),
		ScopeNode(name), ScopeNamespaceFor(label, label), Account(label, name),
		Destination(netip.MustParseAddrPort("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
		Target{Namespace: label, Node: name, Host: label + "." + label + ".svc.cluster.local:65535"}.String(),
	} {
		if len(n) > MaxLength {
			t.Errorf("%d bytes: %s", len(n), n)
		}
		longest = max(longest, len(n))
	}
	if longest < MaxLength/2 {
		t.Errorf("the longest has %d bytes only", longest)
	}
}
