// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ports

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
	"tulle.dev/tulle/internal/names"
)

// port is a Service port as the control plane reads it.
func port(name string, number uint16, app string) model.ServicePort {
	p := model.ServicePort{Name: name, Port: number}
	p.Protocol, p.Declared = model.ProtocolOf(app, name, number)
	return p
}

// add puts a Service into the world, and a pod behind it that serves each of its ports at 1000 more.
func (w *World) add(namespace, name string, pod model.Workload, list ...model.ServicePort) {
	key := model.Key{Namespace: namespace, Name: name}
	n := byte(len(w.Pods) + 1)
	pod.Key, pod.Addresses = key, []netip.Addr{netip.AddrFrom4([4]byte{198, 18, 0, n})}
	slice := model.Slice{Key: key, Service: key, Endpoints: []model.SliceEndpoint{{Addr: pod.Addresses[0], Pod: key, Ready: true}}}
	for _, p := range list {
		slice.Ports = append(slice.Ports, model.SlicePort{Name: p.Name, Port: p.Port + 1000, UDP: p.Protocol == model.UDP})
	}
	w.Services = append(w.Services, model.Service{Key: key, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{198, 19, 0, n})}, Ports: list})
	w.Slices = append(w.Slices, slice)
	w.Pods = append(w.Pods, pod)
}

// route adds a route of a kind.
func (w *World) route(kind string, object any) {
	k, _ := gatewayapi.RouteKindOf(kind)
	w.Routes = append(w.Routes, k.Parse(object))
}

// policy adds a policy of a kind.
func (w *World) policy(kind string, object any) {
	k, _ := policy.KindOf(kind)
	w.Policies = append(w.Policies, k.Parse(object))
}

func sidecar(excluded ...uint16) model.Workload {
	return model.Workload{Kind: names.KindSidecar, ExcludedInboundPorts: excluded}
}

func parse[T any](t *testing.T, text string) *T {
	t.Helper()
	out := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBytes: a port is listed where nothing says what it speaks, and only there.
func TestBytes(t *testing.T) {
	for name, c := range map[string]struct {
		port   model.ServicePort
		pod    model.Workload
		change func(t *testing.T, w *World)
		listed bool
	}{
		"a name that says nothing":  {port: port("web", 80, ""), pod: sidecar(), listed: true},
		"no name":                   {port: port("", 8080, ""), pod: sidecar(), listed: true},
		"a name":                    {port: port("http-web", 80, ""), pod: sidecar()},
		"bytes by name":             {port: port("tcp-web", 80, ""), pod: sidecar()},
		"appProtocol":               {port: port("web", 80, "http"), pod: sidecar()},
		"bytes by appProtocol":      {port: port("web", 80, "tcp"), pod: sidecar()},
		"bytes by number":           {port: port("db", 5432, ""), pod: sidecar()},
		"UDP":                       {port: model.ServicePort{Name: "dns", Port: 53, Protocol: model.UDP, Declared: true}, pod: sidecar()},
		"no proxy":                  {port: port("web", 80, ""), pod: model.Workload{}},
		"a Gateway":                 {port: port("web", 80, ""), pod: model.Workload{Kind: names.KindGateway, Gateway: "gw"}},
		"a program without a proxy": {port: port("web", 80, ""), pod: model.Workload{Kind: names.KindClient}},
		"excluded":                  {port: port("web", 80, ""), pod: sidecar(1080)},
		"another port is excluded":  {port: port("web", 80, ""), pod: sidecar(80), listed: true},
		"the pod has ended":         {port: port("web", 80, ""), pod: model.Workload{Kind: names.KindSidecar, Ended: true}},
		"an HTTPRoute on the Service": {port: port("web", 80, ""), pod: sidecar(), change: func(t *testing.T, w *World) {
			w.route(gatewayapi.KindHTTPRoute, parse[gwapiv1.HTTPRoute](t, `{metadata: {namespace: shop, name: r}, spec: {parentRefs: [{group: "", kind: Service, name: web}], rules: [{}]}}`))
		}},
		"a GRPCRoute on the port": {port: port("web", 80, ""), pod: sidecar(), change: func(t *testing.T, w *World) {
			w.route(gatewayapi.KindGRPCRoute, parse[gwapiv1.GRPCRoute](t, `{metadata: {namespace: shop, name: r}, spec: {parentRefs: [{group: "", kind: Service, name: web, port: 80}], rules: [{}]}}`))
		}},
		"an HTTPRoute on another port": {port: port("web", 80, ""), pod: sidecar(), listed: true, change: func(t *testing.T, w *World) {
			w.route(gatewayapi.KindHTTPRoute, parse[gwapiv1.HTTPRoute](t, `{metadata: {namespace: shop, name: r}, spec: {parentRefs: [{group: "", kind: Service, name: web, port: 81}], rules: [{}]}}`))
		}},
		"an HTTPRoute of another namespace's clients": {port: port("web", 80, ""), pod: sidecar(), listed: true, change: func(t *testing.T, w *World) {
			w.route(gatewayapi.KindHTTPRoute, parse[gwapiv1.HTTPRoute](t, `{metadata: {namespace: other, name: r}, spec: {parentRefs: [{group: "", kind: Service, namespace: shop, name: web}], rules: [{}]}}`))
		}},
		"an HTTPRoute that sends to it": {port: port("web", 80, ""), pod: sidecar(), change: func(t *testing.T, w *World) {
			w.route(gatewayapi.KindHTTPRoute, parse[gwapiv1.HTTPRoute](t, `{metadata: {namespace: shop, name: r}, spec: {parentRefs: [{name: gw}], rules: [{backendRefs: [{name: web, port: 80}]}]}}`))
		}},
		"a TCPRoute": {port: port("web", 80, ""), pod: sidecar(), change: func(t *testing.T, w *World) {
			w.route(gatewayapi.KindTCPRoute, parse[gwapiv1.TCPRoute](t, `{metadata: {namespace: shop, name: r}, spec: {parentRefs: [{group: "", kind: Service, name: web, sectionName: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}}`))
		}},
		"a TCPRoute on another port": {port: port("web", 80, ""), pod: sidecar(), listed: true, change: func(t *testing.T, w *World) {
			w.route(gatewayapi.KindTCPRoute, parse[gwapiv1.TCPRoute](t, `{metadata: {namespace: shop, name: r}, spec: {parentRefs: [{group: "", kind: Service, name: web, sectionName: x}], rules: [{backendRefs: [{name: web, port: 80}]}]}}`))
		}},
		"a TLSRoute": {port: port("web", 80, ""), pod: sidecar(), change: func(t *testing.T, w *World) {
			w.route(gatewayapi.KindTLSRoute, parse[gwapiv1.TLSRoute](t, `{metadata: {namespace: shop, name: r}, spec: {hostnames: [a.example], parentRefs: [{group: "", kind: Service, name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}}`))
		}},
		"a BackendTLSPolicy": {port: port("web", 80, ""), pod: sidecar(), change: func(t *testing.T, w *World) {
			w.policy("BackendTLSPolicy", parse[gwapiv1.BackendTLSPolicy](t, `{metadata: {namespace: shop, name: p}, spec: {targetRefs: [{group: "", kind: Service, name: web}], validation: {hostname: a.example, wellKnownCACertificates: System}}}`))
		}},
	} {
		var w World
		w.add("shop", "web", c.pod, c.port)
		if c.change != nil {
			c.change(t, &w)
		}
		var want []Port
		if c.listed {
			want = []Port{{"shop", "web", c.port.Port, c.port.Name}}
		}
		if diff := cmp.Diff(want, Bytes(w)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// TestOrder: the order of what is read does not matter.
func TestOrder(t *testing.T) {
	var w World
	w.add("b", "web", sidecar(), port("two", 2, ""), port("one", 1, ""))
	w.add("a", "web", sidecar(), port("", 3, ""))
	w.add("a", "api", sidecar(), port("", 4, ""))
	want := []Port{{"a", "api", 4, ""}, {"a", "web", 3, ""}, {"b", "web", 1, "one"}, {"b", "web", 2, "two"}}
	for range 2 {
		if diff := cmp.Diff(want, Bytes(w)); diff != "" {
			t.Error(diff)
		}
		slices.Reverse(w.Services)
		slices.Reverse(w.Slices)
		slices.Reverse(w.Pods)
	}
	if s := want[0].String() + ", " + want[2].String(); s != "api:4, web:1 (one)" {
		t.Error(s)
	}
}

// TestClosed: a call is found where it leads to a meshed pod on a port that the proxy serves, with the port
// of the pod and not the Service's.
func TestClosed(t *testing.T) {
	var w World
	w.add("db", "operator", sidecar(9000), port("https", 443, ""), port("metrics", 8080, ""))
	w.add("db", "excluded", sidecar(1443), port("https", 443, ""))
	w.add("db", "plain", model.Workload{}, port("https", 443, ""))
	to := func(service string, port uint16) Call {
		return Call{Kind: "ValidatingWebhookConfiguration", Name: "db", Service: model.Key{Namespace: "db", Name: service}, Port: port}
	}
	fails := to("operator", 443)
	fails.Fail = true
	conversion := to("operator", 443)
	conversion.Kind, conversion.Name = "CustomResourceDefinition", "dbs.example.com"
	got := Closed(w, []Call{to("operator", 443), fails, to("excluded", 443), to("plain", 443), to("missing", 443), to("operator", 444), conversion, to("operator", 443)})
	pod := []model.Key{{Namespace: "db", Name: "operator"}}
	want := []Closing{
		{Call: conversion, Pods: pod, Targets: []uint16{1443}, Exclude: []uint16{1443, 9000}},
		{Call: fails, Pods: pod, Targets: []uint16{1443}, Exclude: []uint16{1443, 9000}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
