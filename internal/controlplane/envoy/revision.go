// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// The version of a resource is a hash of the model that it was made of and of a revision of the translation.
// A change of this package that makes other bytes of the same model must raise the revision of the resources
// whose bytes change, and of no others: a resource whose version stays the same is not sent, and one whose
// version changes is sent to every proxy when a control plane of the new release takes over.
// TestVersionsOverReleases (internal/controlplane/pipeline) compares the revisions with what the previous
// release made. Each line says which resources it is about, and what the earlier values stood for.
const (
	// Revision is of all resources that have no revision of their own below.
	Revision = "1"
	// upstreamRevision is of clusters of Services by which requests go over HTTP/2 or to a proxy; 1 had the
	// keepalive of all other connections, 2 did not tell a server's proxy how the application is asked, 3 took
	// header fields of at most 64 KiB.
	upstreamRevision = "4"
	// bytesRevision is of the other clusters of Services: of bytes, and of HTTP/1.1 to servers without a proxy;
	// 1 had the keepalive of all other connections.
	bytesRevision = "2"
	// peerBytesRevision is of those of bytes to proxies; 1 as bytesRevision, 2 took fewer header fields in the answers of
	// other proxies.
	peerBytesRevision = "3"
	// directRevision is of clusters of single pods with mutual TLS; 1 offered bytes alone.
	directRevision = "2"
	// applicationRevision is of clusters of HTTP applications; 1 took header fields of at most 64 KiB.
	applicationRevision = "2"
	// datagramRevision is of clusters of datagrams; 1 had any number of sessions.
	datagramRevision = "2"
	// destinationRevision is of clusters of destinations.
	destinationRevision = Revision
	// demandRevision is of the scopes that have chains on demand.
	demandRevision = Revision
	// tableRevision is of tables of routes, and of the parts that agents put them together of; 1 had fewer
	// otherHostAttempts, and matched paths with percent-encoded octets in the one way they were written; 2 had
	// no Vary, kept less of a body for retries and waited before them.
	tableRevision = "3"
	// routedRevision is of listeners whose requests are routed; 1 had no CORS filter, 2 no normal paths beside
	// clients and no filter for what is not normal, 3 took neither methods nor upgrades that Envoy does not
	// know, and had no filter for Vary, 4 took header fields of at most 64 KiB, and let clients of Gateways be
	// silent for ever.
	routedRevision = "5"
	// inboundRevision is of inbound listeners; 1 took fewer resets, 2 had chains for each port, and neither
	// methods nor upgrades that Envoy does not know, and no counters of plaintext; 3 gave clients without mutual
	// TLS the limits of other proxies, and passed on other spellings of x-forwarded-client-cert.
	inboundRevision = "4"
	// plainRevision is of listeners of Gateways for HTTP without TLS; up to 3 the chain had the name of a
	// section, 4 let clients be silent for ever.
	plainRevision = "5"
	// streamRevision is of listeners with chains for server names of routes; 1 had one chain for all names of a
	// route.
	streamRevision = "2"
	// helloRevision is added to the revision of listeners of Gateways for TLS; those without it kept more memory
	// for each connection that has not begun TLS.
	helloRevision = "+1"
	// signaturesRevision is added to the revision of clusters in which a proxy begins TLS because of a
	// BackendTLSPolicy; those without it took no certificates with Ed25519 keys.
	signaturesRevision = "+1"
)

// Revision returns the revision of the translation that made the resource from a value of the model. It is part
// of the resource's version.
func (r Resource) Revision(from any) string {
	if l, ok := r.Message.(*listenerv3.Listener); ok && names.IsGatewayTable(r.Name) && slices.ContainsFunc(l.GetListenerFilters(), inspects) {
		return r.revision(from) + helloRevision
	}
	return r.revision(from)
}

// inspects tells whether a listener filter reads TLS hellos.
func inspects(f *listenerv3.ListenerFilter) bool { return f.GetName() == tlsInspector }

func (r Resource) revision(from any) string {
	o, err := names.ParseOut(r.Name)
	if err == nil && r.TypeURL == ClusterType && o.As != names.AsDatagrams {
		b, ok := from.(model.Backend)
		revision := upstreamRevision
		if ok && !agreesOnHTTP(b) {
			if revision = bytesRevision; b.Transport != model.Plain {
				revision = peerBytesRevision
			}
		}
		if originatesTLS(b) {
			revision += signaturesRevision
		}
		return revision
	}
	switch {
	case r.TypeURL == ClusterType && err == nil:
		return datagramRevision
	case r.TypeURL == ClusterType && (r.Name == names.InboundHTTP || r.Name == names.InboundHTTP2):
		return applicationRevision
	case r.TypeURL == ClusterType && names.IsDirect(r.Name):
		if c, ok := r.Message.(*clusterv3.Cluster); ok && c.GetTransportSocket() == nil {
			return Revision // in plaintext it is as it was
		}
		return directRevision
	case r.TypeURL == ClusterType && names.IsDestination(r.Name):
		return destinationRevision
	case r.TypeURL == protocol.ScopeType && names.IsScopeMesh(r.Name):
		return demandRevision
	}
	if r.TypeURL == ListenerType && names.IsInbound(r.Name) {
		return inboundRevision
	}
	if l, ok := r.Message.(*listenerv3.Listener); ok {
		if names.IsGatewayTable(r.Name) && l.GetDefaultFilterChain() != nil && l.GetDefaultFilterChain().GetName() != closedChain {
			return plainRevision
		}
		if slices.ContainsFunc(l.GetFilterChains(), takesNames) {
			return streamRevision
		}
	}
	if slices.ContainsFunc(r.Refs, func(ref Ref) bool { return r.TypeURL == ListenerType && ref.TypeURL == RoutesType }) {
		return routedRevision
	}
	if table, ok := r.Message.(*routev3.RouteConfiguration); ok && len(table.GetVirtualHosts()) > 0 || r.TypeURL == RoutePartType || names.IsScopeGateway(r.Name) {
		return tableRevision
	}
	return Revision
}

// agreesOnHTTP reports whether the cluster of a backend sends requests over HTTP/2, or to a proxy.
func agreesOnHTTP(b model.Backend) bool {
	plain := b.Transport == model.Plain && (b.TLS == nil || usable(b.TLS))
	return b.Protocol.IsHTTP() && (b.Protocol != model.HTTP || !plain)
}

// originatesTLS reports whether a proxy begins TLS with endpoints of a backend that have no proxy.
func originatesTLS(b model.Backend) bool {
	return b.TLS != nil && usable(b.TLS) && (b.Transport == model.Plain || b.Transport == model.Mixed)
}

// takesNames tells whether a chain is that of a route for server names.
func takesNames(c *listenerv3.FilterChain) bool {
	return len(c.GetFilterChainMatch().GetServerNames()) > 0 && len(c.GetFilters()) > 0 && c.GetFilters()[0].GetConfigDiscovery() != nil
}
