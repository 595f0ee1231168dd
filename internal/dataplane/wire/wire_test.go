// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package wire

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sameAs decodes b into an empty message of want's type and compares.
func sameAs(t *testing.T, b []byte, want proto.Message) {
	t.Helper()
	got := want.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestRequest(t *testing.T) {
	node := Node("sidecar.shop.cart-0.uid", "cart.shop", map[string]string{"TULLE_SLOT": "a", "EMPTY": ""})
	wantNode := &corev3.Node{
		Id: "sidecar.shop.cart-0.uid", Cluster: "cart.shop", UserAgentName: "tulle-agent",
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			"TULLE_SLOT": structpb.NewStringValue("a"), "EMPTY": structpb.NewStringValue(""),
		}},
	}
	ours := &Request{
		Node: node, TypeURL: ClusterType, Subscribe: []string{"*", "b"}, Unsubscribe: []string{"c"},
		Versions: map[string]string{"x": "1", "y": "2"}, Nonce: "n7", Error: &Status{Code: 13, Message: "no such cluster"},
	}
	theirs := &discoveryv3.DeltaDiscoveryRequest{
		Node: wantNode, TypeUrl: ClusterType, ResourceNamesSubscribe: []string{"*", "b"}, ResourceNamesUnsubscribe: []string{"c"},
		InitialResourceVersions: map[string]string{"x": "1", "y": "2"}, ResponseNonce: "n7",
		ErrorDetail: &rpcstatus.Status{Code: 13, Message: "no such cluster"},
	}
	sameAs(t, node, wantNode)
	sameAs(t, ours.Marshal(), theirs)
	got, err := ParseRequest(marshal(t, theirs))
	if err != nil {
		t.Fatal(err)
	}
	got.Node = node // the generated encoder may order a map differently
	if d := cmp.Diff(ours, got); d != "" {
		t.Errorf("parsed request (-want +got):\n%s", d)
	}
}

func TestResponse(t *testing.T) {
	body := marshal(t, &corev3.Locality{Zone: "z"})
	resource := NewResource("type.googleapis.com/envoy.config.core.v3.Locality", "somewhere", "v1", body)
	theirs := &discoveryv3.DeltaDiscoveryResponse{
		SystemVersionInfo: "ignored", TypeUrl: EndpointType, Nonce: "n1", RemovedResources: []string{"gone"},
		Resources: []*discoveryv3.Resource{{
			Name: "somewhere", Version: "v1",
			Resource: &anypb.Any{TypeUrl: "type.googleapis.com/envoy.config.core.v3.Locality", Value: body},
		}},
	}
	got, err := ParseResponse(marshal(t, theirs))
	if err != nil {
		t.Fatal(err)
	}
	theirs.SystemVersionInfo = ""
	sameAs(t, got.Marshal(), theirs)
	got.Resources[0].Raw = resource.Raw
	if d := cmp.Diff(&Response{TypeURL: EndpointType, Nonce: "n1", Removed: []string{"gone"}, Resources: []Resource{resource}}, got); d != "" {
		t.Errorf("parsed response (-want +got):\n%s", d)
	}
	sameAs(t, resource.Raw, theirs.Resources[0])
	if b, err := resource.Body(); err != nil || string(b) != string(body) {
		t.Errorf("Body() = %q, %v; want %q", b, err, body)
	}
}

func TestTLSSecret(t *testing.T) {
	inline := func(s string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte(s)}}
	}
	sameAs(t, TLSSecret("identity", []byte("chain"), []byte("key")), &tlsv3.Secret{
		Name: "identity",
		Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inline("chain"), PrivateKey: inline("key"),
		}},
	})
}

func TestRouteConfiguration(t *testing.T) {
	direct := func(status uint32) *routev3.Route {
		return &routev3.Route{Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: status}}}
	}
	want := &routev3.RouteConfiguration{
		Name: "gw/shop/public/80", ResponseHeadersToRemove: []string{"x"},
		VirtualHosts: []*routev3.VirtualHost{
			{Name: "a.example,*.b.example", Domains: []string{"a.example", "*.b.example"}, Routes: []*routev3.Route{direct(200), direct(421)}, IncludeRequestAttemptCount: true},
			{Name: "*", Domains: []string{"*"}},
		},
	}
	b := AppendRouteConfiguration(nil, "gw/shop/public/80", marshal(t, &routev3.RouteConfiguration{ResponseHeadersToRemove: []string{"x"}}))
	b = AppendVirtualHost(b, []string{"a.example", "*.b.example"}, marshal(t, &routev3.VirtualHost{IncludeRequestAttemptCount: true}), [][]byte{marshal(t, direct(200)), marshal(t, direct(421))})
	b = AppendVirtualHost(b, []string{"*"}, nil, nil)
	sameAs(t, b, want)
}

func TestHealth(t *testing.T) {
	sameAs(t, HealthRequest("shop"), &healthv1.HealthCheckRequest{Service: "shop"})
	for want := range healthv1.HealthCheckResponse_ServingStatus_name {
		s := healthv1.HealthCheckResponse_ServingStatus(want)
		got, err := ParseHealth(marshal(t, &healthv1.HealthCheckResponse{Status: s}))
		if err != nil || got.String() != s.String() {
			t.Errorf("ParseHealth(%v) = %v, %v", s, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add((&Request{TypeURL: ClusterType, Versions: map[string]string{"a": "1"}, Error: &Status{Code: 3}}).Marshal())
	f.Add((&Response{TypeURL: ClusterType, Resources: []Resource{NewResource(ClusterType, "a", "1", []byte("x"))}}).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRequest(b); err == nil {
			if _, err := ParseRequest(r.Marshal()); err != nil {
				t.Errorf("request does not survive: %v", err)
			}
		}
		if r, err := ParseResponse(b); err == nil {
			if _, err := ParseResponse(r.Marshal()); err != nil {
				t.Errorf("response does not survive: %v", err)
			}
		}
	})
}
