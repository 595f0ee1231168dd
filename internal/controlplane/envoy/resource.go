// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

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
