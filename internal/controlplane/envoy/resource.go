// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"fmt"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Revision is the translator's, see Resource.Revision. A change for all resources is rare: raise the
// revision of those whose bytes change, and no other, or an upgrade of the control plane sends every
// proxy all it has once more.
const Revision = "1"

// Type URLs of the resources made here, beside protocol.ScopeType.
const (
	ClusterType   = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointsType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	ListenerType  = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RoutesType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	SecretType    = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	ExtensionType = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
)

// Ref names a resource that another one names.
type Ref struct{ TypeURL, Name string }

// Resource is one xDS resource. Values are made by this package and not changed afterwards.
type Resource struct {
	TypeURL, Name string
	// Message is nil for types that are not protobuf; Raw is then the body.
	Message proto.Message
	Raw     []byte
	// Refs are the clusters, route configurations and extensions that this resource names, sorted, each
	// once. Secrets are not among them: Envoy asks for those itself once it has the cluster or listener.
	Refs []Ref
}

// Ref is the resource's own type and name.
func (r Resource) Ref() Ref { return Ref{r.TypeURL, r.Name} }

// Revision is part of the resource's version: a change of this package that changes what Envoy is
// told for the same model must raise it for the resources concerned. The recorded versions of the
// release before (internal/controlplane/pipeline) hold it to that.
func (r Resource) Revision() string {
	if l, ok := r.Message.(*listenerv3.Listener); ok && names.IsGatewayTable(r.Name) && slices.ContainsFunc(l.GetListenerFilters(), inspects) {
		return r.revision() + helloRevision
	}
	return r.revision()
}

// inspects tells whether a listener filter reads TLS hellos.
func inspects(f *listenerv3.ListenerFilter) bool { return f.GetName() == tlsInspector }

func (r Resource) revision() string {
	o, err := names.ParseOut(r.Name)
	if err == nil && r.TypeURL == ClusterType && o.As != names.AsDatagrams {
		return upstreamRevision
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

// takesNames tells whether a chain is that of a route for server names.
func takesNames(c *listenerv3.FilterChain) bool {
	return len(c.GetFilterChainMatch().GetServerNames()) > 0 && len(c.GetFilters()) > 0 && c.GetFilters()[0].GetConfigDiscovery() != nil
}

// Body is the value of the Any that carries the resource. The same message gives the same bytes in one build.
func (r Resource) Body() ([]byte, error) {
	if r.Message == nil {
		return r.Raw, nil
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.Message)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.Name, err)
	}
	return b, nil
}

// Validate checks the constraints that Envoy's API declares for single fields. It does not look into
// extensions; internal/testing/invariant does.
func (r Resource) Validate() error {
	v, ok := r.Message.(interface{ ValidateAll() error })
	if !ok {
		return nil
	}
	if err := v.ValidateAll(); err != nil {
		return fmt.Errorf("validate %s: %w", r.Name, err)
	}
	return nil
}

func listener(l *listenerv3.Listener, refs refSet) Resource {
	return Resource{TypeURL: ListenerType, Name: l.GetName(), Message: l, Refs: refs.sorted()}
}

func routes(rc *routev3.RouteConfiguration, refs refSet) Resource {
	return Resource{TypeURL: RoutesType, Name: rc.GetName(), Message: rc, Refs: refs.sorted()}
}

func cluster(c *clusterv3.Cluster) Resource {
	return Resource{TypeURL: ClusterType, Name: c.GetName(), Message: c}
}

func endpoints(a *endpointv3.ClusterLoadAssignment) Resource {
	return Resource{TypeURL: EndpointsType, Name: a.GetClusterName(), Message: a}
}

func secret(s *tlsv3.Secret) Resource {
	return Resource{TypeURL: SecretType, Name: s.GetName(), Message: s}
}

// typed packs a message of this package's own making into an Any, deterministically.
func typed(m proto.Message) *anypb.Any {
	a := new(anypb.Any)
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		panic("envoy: a message that cannot be encoded: " + err.Error()) // a bug, e.g. a string that is not UTF-8
	}
	return a
}
