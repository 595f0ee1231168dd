// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"fmt"
	"net/netip"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/pipeline"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/names"
)

// mesh is the real graph of the control plane: from the objects of the cluster
// to Envoy's resources, marshalled and with their versions. Namespaces hold a
// hundred services, each with ten endpoints and an HTTPRoute.
type mesh struct {
	graph   *pipeline.Graph
	size    int
	turn    int
	changed int
}

func newMesh() graph { return &mesh{graph: pipeline.New(nil)} }

func serviceKey(n int) model.Key {
	return model.Key{Namespace: fmt.Sprintf("ns-%03d", n/100), Name: fmt.Sprintf("svc-%05d", n)}
}

func serviceOf(n int) source.Event {
	k := serviceKey(n)
	return source.Event{Kind: source.Service, Key: k, Object: model.Service{
		Key: k, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)})},
		Ports: []model.ServicePort{{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}},
	}}
}

// endpointsOf moves the first of ten addresses from turn to turn.
func endpointsOf(n, turn int) source.Event {
	k := serviceKey(n)
	slice := model.Slice{Key: k, Service: k, Ports: []model.SlicePort{{Name: "http", Port: 8080}}}
	for i := range 10 {
		last := i
		if i == 0 {
			last = 100 + turn%100
		}
		slice.Endpoints = append(slice.Endpoints, model.SliceEndpoint{
			Addr: netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), byte(last)}), Ready: true, Serving: true,
		})
	}
	return source.Event{Kind: source.EndpointSlice, Key: k, Object: slice}
}

// routeOf changes a weight from turn to turn.
func routeOf(n, turn int) source.Event {
	svc := serviceKey(n)
	name, kind, group, port := gwapiv1.ObjectName(svc.Name), gwapiv1.Kind("Service"), gwapiv1.Group(""), gwapiv1.PortNumber(80)
	backend := func(weight int32) gwapiv1.HTTPBackendRef {
		return gwapiv1.HTTPBackendRef{BackendRef: gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Name: name, Port: &port}, Weight: &weight}}
	}
	return source.Event{Kind: "HTTPRoute", Key: svc, Object: &gwapiv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name, UID: types.UID(svc.String()), Generation: int64(turn + 1)},
		Spec: gwapiv1.HTTPRouteSpec{
			CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: []gwapiv1.ParentReference{{Group: &group, Kind: &kind, Name: name}}},
			Rules:           []gwapiv1.HTTPRouteRule{{BackendRefs: []gwapiv1.HTTPBackendRef{backend(int32(turn%1000 + 1)), backend(7)}}}, //nolint:gosec // small
		},
	}}
}

func (m *mesh) apply(events []source.Event, more pipeline.Inputs) {
	m.changed = len(m.graph.Apply(events, more).Resources)
}

func (m *mesh) load(n int) {
	m.size = n
	var all []source.Event
	for i := 0; i < n; i += 100 {
		ns := serviceKey(i).Namespace
		pod := model.Key{Namespace: ns, Name: "client"}
		all = append(all,
			source.Event{Kind: source.Namespace, Key: model.Key{Name: ns}, Object: model.Namespace{Name: ns, Meshed: true}},
			source.Event{Kind: source.Pod, Key: pod, Object: model.Workload{Key: pod, UID: ns, Kind: names.KindSidecar, Node: "n", ServiceAccount: "default"}})
	}
	for i := range n {
		all = append(all, serviceOf(i), endpointsOf(i, 0), routeOf(i, 0))
	}
	roots := "PEM"
	m.apply(all, pipeline.Inputs{Settings: &model.Settings{TrustDomain: "cluster.local", Version: "0.2.0"}, Roots: &roots})
}

func (m *mesh) touched() int {
	m.turn++
	return m.turn % 100 * (m.size / 100)
}

func (m *mesh) changeEndpoint() {
	n := m.touched()
	m.apply([]source.Event{endpointsOf(n, m.turn/100)}, pipeline.Inputs{})
}

func (m *mesh) changeRoute() {
	n := m.touched()
	m.apply([]source.Event{routeOf(n, m.turn/100)}, pipeline.Inputs{})
}

func (m *mesh) evals() int {
	n := 0
	for _, e := range m.graph.Evals() {
		n += e
	}
	return n
}

func (m *mesh) published() int { return m.changed }
