// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"tulle.dev/tulle/internal/controlplane/envoy"
	agentenvoy "tulle.dev/tulle/internal/dataplane/envoy"
	"tulle.dev/tulle/internal/names"
)

// static turns resources into a bootstrap that asks nobody for anything: what Envoy would fetch by
// name stands in it, so that validation sees all of it.
type static struct {
	routes    map[string]*routev3.RouteConfiguration
	endpoints map[string]*endpointv3.ClusterLoadAssignment
	listeners []*listenerv3.Listener
	clusters  []*clusterv3.Cluster
	secrets   map[string]*tlsv3.Secret
	filters   map[string]*corev3.TypedExtensionConfig
}

func newStatic(resources []envoy.Resource) *static {
	s := &static{
		routes:    map[string]*routev3.RouteConfiguration{},
		endpoints: map[string]*endpointv3.ClusterLoadAssignment{},
		secrets:   map[string]*tlsv3.Secret{},
		filters:   map[string]*corev3.TypedExtensionConfig{},
	}
	for _, r := range resources {
		switch m := proto.Clone(r.Message).(type) {
		case *routev3.RouteConfiguration:
			s.routes[r.Name] = m
		case *endpointv3.ClusterLoadAssignment:
			s.endpoints[r.Name] = m
		case *listenerv3.Listener:
			s.listeners = append(s.listeners, m)
		case *clusterv3.Cluster:
			s.clusters = append(s.clusters, m)
		case *tlsv3.Secret:
			s.secrets[r.Name] = m
		case *corev3.TypedExtensionConfig:
			s.filters[r.Name] = m
		}
	}
	return s
}

// bootstrap writes the whole as JSON. Placeholders of certificates are replaced by real ones.
func (s *static) bootstrap(t *testing.T, pki *authority) []byte {
	t.Helper()
	s.secrets["identity"] = identitySecret(t, pki, "spiffe://cluster.local/ns/test/sa/test")
	for _, c := range s.clusters {
		if c.GetType() != clusterv3.Cluster_EDS {
			continue
		}
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
		c.LoadAssignment = s.endpoints[c.GetEdsClusterConfig().GetServiceName()]
		c.EdsClusterConfig = nil
	}
	var secrets []any
	for _, sec := range s.secrets {
		if v := sec.GetValidationContext(); v != nil {
			v.TrustedCa = text(pki.roots())
		}
		if c := sec.GetTlsCertificate(); c != nil && sec.GetName() != "identity" {
			leaf := pki.leaf(t, "", "www.example.com")
			c.CertificateChain, c.PrivateKey = text(leaf.chain), text(leaf.key)
		}
		secrets = append(secrets, raw(t, sec))
	}
	var listeners, clusters []any
	for _, l := range s.listeners {
		s.inline(t, l.ProtoReflect())
		listeners = append(listeners, raw(t, l))
	}
	for _, c := range s.clusters {
		s.inline(t, c.ProtoReflect())
		clusters = append(clusters, raw(t, c))
	}
	return encode(t, map[string]any{
		"node":             map[string]any{"id": "validate", "cluster": "validate"},
		"static_resources": map[string]any{"listeners": listeners, "clusters": clusters, "secrets": secrets},
		"layered_runtime":  agentenvoy.Runtime(names.KindSidecar),
	})
}

// inline replaces, within m and its extensions, routes, filters and secrets asked for by name.
func (s *static) inline(t *testing.T, m protoreflect.Message) {
	t.Helper()
	switch x := m.Interface().(type) {
	case *anypb.Any:
		inner, err := x.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		s.inline(t, inner.ProtoReflect())
		if err := x.MarshalFrom(inner); err != nil {
			t.Fatal(err)
		}
		return
	case *hcmv3.HttpConnectionManager:
		if name := x.GetRds().GetRouteConfigName(); name != "" {
			if s.routes[name] == nil {
				t.Fatalf("no RouteConfiguration %q", name)
			}
			x.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: s.routes[name]}
		}
	case *listenerv3.Filter:
		if x.GetConfigDiscovery() != nil {
			if s.filters[x.GetName()] == nil {
				t.Fatalf("no filter %q", x.GetName())
			}
			x.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: s.filters[x.GetName()].GetTypedConfig()}
		}
	case *tlsv3.SdsSecretConfig:
		x.SdsConfig = nil // by name from the bootstrap
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			if f.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					s.inline(t, v.Message())
					return true
				})
			}
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				s.inline(t, v.List().Get(i).Message())
			}
		default:
			s.inline(t, v.Message())
		}
		return true
	})
}

func text(pem string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: pem}}
}

func raw(t *testing.T, m proto.Message) jsonRaw {
	t.Helper()
	b, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
