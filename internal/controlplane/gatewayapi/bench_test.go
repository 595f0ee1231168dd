// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
)

// BenchmarkMeshTable is what a change of a split costs.
func BenchmarkMeshTable(b *testing.B) {
	w := load(b, "mesh-split")
	port := model.PortKey{Service: model.Key{Namespace: "shop", Name: "web"}, Port: 80}
	b.ReportAllocs()
	for b.Loop() {
		gatewayapi.MeshTable(w, port, "")
	}
}

// crowded is a Gateway with so many routes, each for a host name of its own.
func crowded(b *testing.B, n int) *world {
	w := load(b, "gateway-http")
	w.routes = nil
	for i := range n {
		r := &gwapiv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("route-%d", i)}}
		infra, port := gwapiv1.Namespace("infra"), gwapiv1.PortNumber(80)
		r.Spec.ParentRefs = []gwapiv1.ParentReference{{Namespace: &infra, Name: "edge"}}
		r.Spec.Hostnames = []gwapiv1.Hostname{gwapiv1.Hostname(r.Name + ".example.com")}
		to := gwapiv1.BackendObjectReference{Name: "web", Port: &port}
		r.Spec.Rules = []gwapiv1.HTTPRouteRule{{BackendRefs: []gwapiv1.HTTPBackendRef{{BackendRef: gwapiv1.BackendRef{BackendObjectReference: to}}}}}
		w.addObject(r)
	}
	return w
}

// BenchmarkRouteParts is the translation of one of 1,000 routes on a Gateway.
func BenchmarkRouteParts(b *testing.B) {
	w := crowded(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		gatewayapi.RouteParts(w, w.routes[500])
	}
}

// BenchmarkRouteStatus is the status of one of 1,000 routes on a Gateway.
func BenchmarkRouteStatus(b *testing.B) {
	w := crowded(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		gatewayapi.RouteParents(w, w.routes[500])
	}
}
