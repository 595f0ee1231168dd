// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

import (
	"fmt"
	"strings"
)

// SPIFFE is a workload's identity, spiffe://<TrustDomain>/ns/<Namespace>/sa/<ServiceAccount>.
type SPIFFE struct {
	TrustDomain, Namespace, ServiceAccount string
}

// String spells the id.
func (s SPIFFE) String() string {
	return "spiffe://" + s.TrustDomain + "/ns/" + s.Namespace + "/sa/" + s.ServiceAccount
}

// ParseSPIFFE reads an id in exactly the form that String writes.
func ParseSPIFFE(id string) (SPIFFE, error) {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	p := strings.Split(rest, "/")
	if !ok || len(p) != 5 || p[1] != "ns" || p[3] != "sa" || p[0] == "" || p[2] == "" || p[4] == "" {
		return SPIFFE{}, fmt.Errorf("%q is not of the form spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICEACCOUNT", id)
	}
	return SPIFFE{p[0], p[2], p[4]}, nil
}

// TokenAudience is the audience of the projected token an agent proves itself with.
func TokenAudience(trustDomain string) string { return Group + "/" + trustDomain }

// SNIOf is the server name a mesh client sends: it marks the connection as Tulle's and names the
// Service port; it is not resolvable and no certificate carries it.
func SNIOf(namespace, service string, port uint16) string {
	return fmt.Sprintf("%d.%s.%s.%s", port, service, namespace, SNISuffix)
}

// SNIAddress is the server name of connections to a pod's own address, which no Service names.
const SNIAddress = "address." + SNISuffix

// SNISuffix ends every server name of the mesh.
const SNISuffix = "mesh.tulle.internal"

// ALPN protocols between proxies. A client's proxy offers one of the first four, and after it, where a
// server's proxy of release 0.2.0 or older needs it, the protocol that such a proxy knows.
const (
	ALPNAppHTTP1 = "tulle-http1" // HTTP, for an application that is asked with HTTP/1.1
	ALPNAppHTTP2 = "tulle-http2" // HTTP, for an application that is asked with HTTP/2
	ALPNTCP      = "tulle-tcp"   // bytes
	// ALPNAny is for connections that name no Service port: bytes, or HTTP where the server's proxy
	// knows that its port speaks HTTP.
	ALPNAny = "tulle-any"
	// ALPNHTTP and ALPNHTTP1 do not say how the application is asked. Besides proxies of release 0.2.0,
	// gRPC libraries offer ALPNHTTP.
	ALPNHTTP  = "h2"
	ALPNHTTP1 = "http/1.1"
)
