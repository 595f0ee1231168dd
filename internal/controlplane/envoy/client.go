// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// What this file and client_route.go make is read by gRPC libraries, not by Envoy: the part of the API
// that gRFCs A27, A28, A29 and A31 define. They refuse much of what Envoy takes (secrets over SDS, a
// choice of transport by endpoint, localities without a weight), so nothing is shared with it.

// ClientListener makes what a program's target is resolved to: the name of its routes.
func ClientListener(t model.ClientTarget) Resource {
	refs := refSet{}
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix: t.Table,
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			ConfigSource: ads(), RouteConfigName: refs.routes(names.Client(t.Table)),
		}},
		// Not the filters of proxies: a library refuses a listener with one that it does not know.
		HttpFilters: []*hcmv3.HttpFilter{{
			Name:       "envoy.filters.http.router",
			ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: typed(&routerv3.Router{})},
		}},
	}
	l := &listenerv3.Listener{Name: t.Host, ApiListener: &listenerv3.ApiListener{ApiListener: typed(manager)}}
	// The client knows it by its own word for it; here it is one of several with that name.
	return Resource{TypeURL: ListenerType, Name: t.Name, Message: l, Refs: refs.sorted()}
}

// ClientCluster makes the cluster of a Service port.
//
//	transport    mutual TLS    endpoints
//	mesh         yes           all
//	mixed        yes           those with a proxy: a cluster has one transport for all
//	plain        no            all
//
// A program whose credentials are not those of xDS makes no TLS in any case.
func ClientCluster(b model.ClientBackend) Resource {
	c := clientCluster(names.Client(clusterName(model.BackendName{Key: b.Key, Node: b.Node, As: b.As})))
	if b.Affinity {
		c.LbPolicy = clusterv3.Cluster_RING_HASH
	}
	if b.Transport != model.Plain {
		c.TransportSocket = fromClient(b)
	}
	return cluster(c)
}

// ClientNoBackend makes the cluster of what is invalid, and its lack of endpoints: calls fail with
// UNAVAILABLE. A cluster that does not exist would have the client wait for it.
func ClientNoBackend() (noBackend, none Resource) {
	return cluster(clientCluster(names.ClientNoBackend)),
		endpoints(&endpointv3.ClusterLoadAssignment{ClusterName: names.ClientNoBackend})
}

func clientCluster(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads(), ServiceName: name},
		LbPolicy:             clusterv3.Cluster_ROUND_ROBIN, // the one that every library has
		CircuitBreakers:      unlimited(),                   // they fail calls above 1,024 at a time unless told
	}
}

// certificates is the name by which a program's bootstrap calls its certificate, key and roots.
const certificates = "default"

// fromClient is how a program reaches the pods of a Service: with its own certificate, accepting only the
// identities behind that Service. gRPC refuses a message that says more, such as the version of TLS; that
// of servers is 1.3 alone.
func fromClient(b model.ClientBackend) *corev3.TransportSocket {
	ids := b.Identities
	if len(ids) == 0 {
		ids = []string{nobody} // as in PeerSecret
	}
	accepted := make([]*matcherv3.StringMatcher, 0, len(ids))
	for _, id := range ids {
		accepted = append(accepted, exactly(id))
	}
	return tlsSocket(&tlsv3.UpstreamTlsContext{
		Sni: names.SNIOf(b.Key.Service.Namespace, b.Key.Service.Name, b.Key.Port),
		CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsCertificateProviderInstance: &tlsv3.CertificateProviderPluginInstance{InstanceName: certificates},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
				CaCertificateProviderInstance: &tlsv3.CertificateProviderPluginInstance{InstanceName: certificates},
				MatchSubjectAltNames:          accepted, //nolint:staticcheck // deprecated, and the only field that gRPC reads
			}},
		},
	})
}

// ClientEndpoints makes a Service port's endpoints: a locality per zone, whose weight is how many it has,
// so that every endpoint gets the same share.
func ClientEndpoints(e model.ClientEndpoints) Resource {
	a := &endpointv3.ClusterLoadAssignment{ClusterName: names.Client(clusterName(model.BackendName{Key: e.Key, Node: e.Node, As: e.As}))}
	zones := map[string]*endpointv3.LocalityLbEndpoints{}
	seen := map[string]bool{}
	for _, ep := range e.List {
		if e.Transport == model.Mixed && !ep.Meshed || seen[ep.Addr.String()] {
			continue
		}
		seen[ep.Addr.String()] = true
		zone := zones[ep.Zone]
		if zone == nil {
			zone = &endpointv3.LocalityLbEndpoints{
				Locality: &corev3.Locality{Zone: ep.Zone}, LoadBalancingWeight: wrapperspb.UInt32(0),
			}
			zones[ep.Zone] = zone
			a.Endpoints = append(a.Endpoints, zone) // in the order of their first addresses
		}
		zone.LoadBalancingWeight.Value++
		zone.LbEndpoints = append(zone.LbEndpoints, endpoint(model.Endpoint{Addr: ep.Addr}, nil))
	}
	return endpoints(a)
}
