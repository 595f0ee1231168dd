// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// TestRoutesSayWhatTheirBackendsSpeak: a port that is bytes by its name has a cluster for each version of HTTP
// that routes need, as long as they need it, and stays bytes for everybody else.
func TestRoutesSayWhatTheirBackendsSpeak(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	w := &world{rnd: rand.New(rand.NewPCG(1, 1))}
	svc := model.Key{Namespace: "a", Name: "web"}
	service := model.Service{Key: svc, VIPs: []netip.Addr{netip.MustParseAddr("11.0.0.1")}, Ports: []model.ServicePort{{Name: "tcp-service", Port: 80, Protocol: model.TCP, Declared: true}}}
	http, grpc := w.httpRoute(model.Key{Namespace: "a", Name: "h"}), w.grpcRoute(model.Key{Namespace: "a", Name: "g"})
	http.Spec.ParentRefs, grpc.Spec.ParentRefs = []gwapiv1.ParentReference{{Name: "gw"}}, []gwapiv1.ParentReference{{Name: "gw"}}
	http.Spec.Rules = []gwapiv1.HTTPRouteRule{{BackendRefs: []gwapiv1.HTTPBackendRef{{BackendRef: to(svc)}}}}
	grpc.Spec.Rules = []gwapiv1.GRPCRouteRule{{BackendRefs: []gwapiv1.GRPCBackendRef{{BackendRef: to(svc)}}}}
	has := state{}
	events := func(object bool) []source.Event {
		h, g := source.Event{Kind: "HTTPRoute", Key: model.Key{Namespace: "a", Name: "h"}}, source.Event{Kind: "GRPCRoute", Key: model.Key{Namespace: "a", Name: "g"}}
		if object {
			h.Object, g.Object = http, grpc
		}
		return []source.Event{h, g}
	}
	check := func(what, as string, p model.Protocol, there bool) {
		t.Helper()
		b := model.Backend{Key: model.PortKey{Service: svc, Port: 80}, As: as, Protocol: p, Transport: model.MeshOnly}
		made := envoy.Cluster(b)
		got, _, _ := strings.Cut(has[xds.Key{TypeURL: envoy.ClusterType, Name: made.Name}], " ")
		if want := resource(made, b).Version; there != (got == want) || !there && got != "" {
			t.Errorf("%s: cluster %s has version %q, that of %s is %q", what, made.Name, got, p, want)
		}
	}
	has.apply(t, g.Apply([]source.Event{
		class(), {Kind: source.Namespace, Key: model.Key{Name: "a"}, Object: model.Namespace{Name: "a", Meshed: true}}, {Kind: source.Service, Key: svc, Object: service},
	}, testSettings()))
	for _, routed := range []bool{false, true, false} {
		has.apply(t, g.Apply(events(routed), Inputs{}))
		check("the port's own", "", model.TCP, true)
		check("an HTTPRoute", names.AsHTTP1, model.HTTP, routed)
		check("a GRPCRoute", names.AsHTTP2, model.HTTP2, routed)
	}
}
