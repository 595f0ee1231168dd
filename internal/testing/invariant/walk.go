// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package invariant

import (
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	udpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/udp/udp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"tulle.dev/tulle/internal/controlplane/envoy"
)

// walk visits m and every message in it, unpacking extensions; a parent comes before its children.
func walk(m proto.Message, visit func(proto.Message)) error {
	if a, ok := m.(*anypb.Any); ok {
		inner, err := a.UnmarshalNew()
		if err != nil {
			return fmt.Errorf("extension %s: %w", a.GetTypeUrl(), err)
		}
		return walk(inner, visit)
	}
	visit(m)
	var err error
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			if f.MapValue().Message() == nil {
				return true
			}
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				err = walk(v.Message().Interface(), visit)
				return err == nil
			})
		case f.Message() == nil:
		case f.IsList():
			for i := 0; i < v.List().Len() && err == nil; i++ {
				err = walk(v.List().Get(i).Message().Interface(), visit)
			}
		default:
			err = walk(v.Message().Interface(), visit)
		}
		return err == nil
	})
	return err
}

// namedBy collects every resource that r names.
func namedBy(r envoy.Resource) (map[envoy.Ref]bool, error) {
	named := map[envoy.Ref]bool{}
	if r.Message == nil {
		return named, nil
	}
	add := func(typ string, list ...string) {
		for _, n := range list {
			if n != "" {
				named[envoy.Ref{TypeURL: typ, Name: n}] = true
			}
		}
	}
	err := walk(r.Message, func(m proto.Message) {
		switch m := m.(type) {
		case *clusterv3.Cluster:
			if m.GetType() == clusterv3.Cluster_EDS {
				add(envoy.EndpointsType, m.GetEdsClusterConfig().GetServiceName())
			}
		case *hcmv3.Rds:
			add(envoy.RoutesType, m.GetRouteConfigName())
		case *listenerv3.Filter:
			if m.GetConfigDiscovery() != nil {
				add(envoy.ExtensionType, m.GetName())
			}
		case *routev3.RouteAction:
			add(envoy.ClusterType, m.GetCluster())
		case *routev3.WeightedCluster_ClusterWeight:
			add(envoy.ClusterType, m.GetName())
		case *routev3.RouteAction_RequestMirrorPolicy:
			add(envoy.ClusterType, m.GetCluster())
		case *tcpv3.TcpProxy:
			add(envoy.ClusterType, m.GetCluster())
		case *tcpv3.TcpProxy_WeightedCluster_ClusterWeight:
			add(envoy.ClusterType, m.GetName())
		case *udpv3.Route:
			add(envoy.ClusterType, m.GetCluster())
		case *tlsv3.SdsSecretConfig:
			add(envoy.SecretType, m.GetName())
		}
	})
	return named, err
}
