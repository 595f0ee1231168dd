// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"testing"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/pipeline"
	"tulle.dev/tulle/internal/controlplane/source"
)

func tls12(t *testing.T, l net.Listener, own leaf) net.Listener {
	t.Helper()
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{own.pair(t)}, MinVersion: tls.VersionTLS12})
}

// changes are all kinds of changes, in an order in which most are undone by the next.
func (s *scene) changes() []change {
	return slices.Concat(s.routeChanges(), s.serviceChanges(), s.meshChanges(), s.gatewayChanges())
}

func step(name string, see func() error, events ...source.Event) change {
	return change{name: name, events: events, see: see}
}

// routeChanges are routes of every kind on ports of Services.
func (s *scene) routeChanges() []change {
	t := s.t
	web, db, grpc := onService("web", 80), onService("db", 5432), onService("grpc", 50)
	atDB := dialer{ns: s.client, addr: dbIP + ":5432"}
	producer := httpRoute(t, "shop", "p", web, to("web", 80, 1))
	consumer := httpRoute(t, "team", "c", web, to("web", 80, 1))
	rpc := route[gwapiv1.GRPCRoute](t, "GRPCRoute", "shop", "g", `{"parentRefs":[`+grpc+`],"rules":[{"backendRefs":[`+to("grpc", 50, 1)+`]}]}`)
	rpcOfConsumer := route[gwapiv1.GRPCRoute](t, "GRPCRoute", "team", "g", `{"parentRefs":[`+grpc+`],"rules":[{"backendRefs":[`+to("grpc", 50, 1)+`]}]}`)
	bytes := tcpRoute(t, "shop", "p", db, to("other", 5432, 1))
	bytesOfConsumer := tcpRoute(t, "team", "c", db, to("other", 5432, 1))
	grant := route[gwapiv1.ReferenceGrant](t, source.ReferenceGrant, "shop", "team",
		`{"from":[{"group":"gateway.networking.k8s.io","kind":"HTTPRoute","namespace":"team"},{"group":"gateway.networking.k8s.io","kind":"GRPCRoute","namespace":"team"},{"group":"gateway.networking.k8s.io","kind":"TCPRoute","namespace":"team"}],"to":[{"group":"","kind":"Service"}]}`)
	return []change{
		step("a grant", by(s.web, "", "web"), grant),
		step("the first HTTPRoute", by(s.web, "shop/p", "web"), producer),
		step("another backend", by(s.web, "shop/p", "other"), httpRoute(t, "shop", "p", web, to("other", 80, 1))),
		step("the first consumer route", by(s.web, "team/c", "web"), consumer),
		step("another backend of the consumer route", by(s.web, "team/c", "other"), httpRoute(t, "team", "c", web, to("other", 80, 1))),
		step("the producer's route goes", by(s.web, "team/c", "other"), gone(producer)),
		step("the consumer route goes", by(s.web, "", "web"), gone(consumer)),
		step("the first GRPCRoute", nil, rpc),
		step("the first GRPCRoute of the consumer", nil, rpcOfConsumer),
		step("GRPCRoutes go", nil, gone(rpc), gone(rpcOfConsumer)),
		step("the first TCPRoute", s.greets(atDB, "other"), bytes),
		step("another backend of the TCPRoute", s.greets(atDB, "db"), tcpRoute(t, "shop", "p", db, to("db", 5432, 9), to("other", 5432, 0))),
		step("the first TCPRoute of the consumer", s.greets(atDB, "other"), bytesOfConsumer),
		step("the consumer's TCPRoute goes", s.greets(atDB, "db"), gone(bytesOfConsumer)),
		step("the TCPRoute goes", s.greets(atDB, "db"), gone(bytes)),
		step("an HTTPRoute on a port that was bytes", s.speaksHTTP(dbIP+":5432"), httpRoute(t, "shop", "h", db, to("db", 5432, 1))),
		step("it goes", s.greets(atDB, "db"), gone(httpRoute(t, "shop", "h", db, ""))),
		step("an HTTPRoute of the consumer on a port that is bytes", s.speaksHTTP(dbIP+":5432"), httpRoute(t, "team", "h", db, to("db", 5432, 1))),
		step("it goes, too", s.greets(atDB, "db"), gone(httpRoute(t, "team", "h", db, ""))),
		step("a GRPCRoute on a port that was bytes", s.speaksHTTP(dbIP+":5432"),
			route[gwapiv1.GRPCRoute](t, "GRPCRoute", "shop", "h", `{"parentRefs":[`+db+`],"rules":[{"backendRefs":[`+to("db", 5432, 1)+`]}]}`)),
		step("the GRPCRoute goes", s.greets(atDB, "db"), gone(object("GRPCRoute", "shop", "h", nil))),
		step("a TCPRoute on a port for HTTP", s.greets(dialer{ns: s.client, addr: webIP + ":80"}, "other"), tcpRoute(t, "shop", "w", web, to("other", 5432, 1))),
		step("the TCPRoute goes from it", by(s.web, "", "web"), gone(tcpRoute(t, "shop", "w", web))),
	}
}

// serviceChanges are Services and their endpoints.
func (s *scene) serviceChanges() []change {
	web := func(edit func(*model.Service), more ...model.ServicePort) source.Event {
		return serviceOf("web", webIP, edit, append([]model.ServicePort{{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}}, more...)...)
	}
	db := func(protocol model.Protocol, edit func(*model.Service)) source.Event {
		return serviceOf("db", dbIP, edit, model.ServicePort{Name: "db", Port: 5432, Protocol: protocol, Declared: protocol != model.TCP})
	}
	local := func(x *model.Service) { x.LocalTraffic = true }
	affine := func(x *model.Service) { x.AffinitySeconds = 60 }
	atDB := dialer{ns: s.client, addr: dbIP + ":5432"}
	return []change{
		step("internalTrafficPolicy Local", by(s.web, "", "web"), web(local), db(model.TCP, local)),
		step("a consumer route beside it", by(s.web, "team/c", "other"), httpRoute(s.t, "team", "c", onService("web", 80), to("other", 80, 1))),
		step("which goes", by(s.web, "", "web"), gone(httpRoute(s.t, "team", "c", onService("web", 80), ""))),
		step("internalTrafficPolicy Cluster", by(s.web, "", "web"), web(nil), db(model.TCP, nil)),
		step("session affinity", s.greets(atDB, "db"), web(affine), db(model.TCP, affine)),
		step("no session affinity", s.greets(atDB, "db"), web(nil), db(model.TCP, nil)),
		{name: "a new port", events: []source.Event{web(nil, model.ServicePort{Name: "metrics", Port: 9090, Protocol: model.HTTP, Declared: true})}, sidecar: counts{added: 1}},
		{name: "the port goes", events: []source.Event{web(nil)}, sidecar: counts{removed: 1}},
		step("a port is declared as HTTP", s.speaksHTTP(dbIP+":5432"), db(model.HTTP, nil)),
		step("and as bytes again", s.greets(atDB, "db"), db(model.TCP, nil)),
		step("another target port", s.greets(atDB, "other"), endpointsOf("db", "db", 8004)),
		step("no endpoints", nil, endpointsOf("db", "db"), endpointsOf("grpc", "grpc")),
		step("endpoints again", s.greets(atDB, "db"), endpointsOf("db", "db", 8002), endpointsOf("grpc", "grpc", 8001)),
		step("an address of a load balancer", nil, web(func(x *model.Service) { x.LoadBalancer = []string{"192.0.2.1"} })),
		{name: "another Service", events: []source.Event{
			serviceOf("new", "198.18.20.9", nil, model.ServicePort{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}), endpointsOf("new", "http", 8001),
		}, sidecar: counts{added: 1}},
		{name: "it goes", events: []source.Event{gone(object(source.Service, "shop", "new", nil)), gone(endpointsOf("new", "http"))}, sidecar: counts{removed: 1}},
	}
}

// meshChanges are those of the Mesh, of pods and of certificates.
func (s *scene) meshChanges() []change {
	more := newAuthority(s.t).roots()
	both := s.pki.roots() + more
	settings := model.Settings{TrustDomain: trustDomain, Version: "0.3.0", LogLevel: "error", DrainSeconds: 60, CertificateLifetimeSeconds: 3600, Concurrency: 1}
	return []change{
		step("annotations of the pod", nil, s.podIs(func(w *model.Workload) { w.LogLevel, w.DrainSeconds, w.Concurrency = "info", 5, 2 })),
		{name: "settings of the Mesh", more: pipeline.Inputs{Settings: &settings}},
		{name: "another root", more: pipeline.Inputs{Roots: &both}},
		step("another namespace", nil, object(source.Namespace, "", "more", model.Namespace{Name: "more", Meshed: true})),
		step("labels of a namespace", nil, object(source.Namespace, "", "shop", model.Namespace{Name: "shop", Meshed: true, Labels: []model.Label{{Name: "a", Value: "b"}}})),
		step("another pod", nil, object(source.Pod, "more", "p", model.Workload{
			Key: model.Key{Namespace: "more", Name: "p"}, UID: "p", Addresses: []netip.Addr{netip.MustParseAddr("198.18.9.77")}, Node: "n2", Kind: "sidecar", ServiceAccount: "p",
		})),
	}
}

// gatewayChanges are those of the Gateway, its certificates and its routes.
func (s *scene) gatewayChanges() []change {
	t := s.t
	all := s.listeners()
	with := func(more ...string) source.Event { return gatewayOf(t, append(slices.Clone(all), more...)...) }
	at := func(port, name string) dialer { return dialer{s.world, gatewayIP + ":" + port, name} }
	edge := func(backend, parents string) source.Event { return httpRoute(t, "shop", "edge", parents, backend) }
	usual := onGateway("http") + "," + onGateway("a")
	return []change{
		step("another backend at the Gateway", by(s.plain, "shop/edge", "other"), edge(to("other", 80, 1), usual)),
		step("another route at the Gateway", by(s.plain, "shop/edge", "other"), httpRoute(t, "shop", "more", onGateway("http"), to("web", 80, 1))),
		step("both as they were", by(s.plain, "shop/edge", "web"), edge(to("web", 80, 1), usual), gone(httpRoute(t, "shop", "more", "", ""))),
		{name: "a listener on another port", events: []source.Event{with(listenerOf("extra", 8081, "HTTP", ""))}, edge: counts{added: 1}},
		step("a second listener of the port, first by name", by(s.plain, "shop/edge", "web"), gatewayOf(t, append([]string{
			listenerOf("aaa", 80, "HTTP", `,"hostname":"aaa.example.com"`), listenerOf("extra", 8081, "HTTP", ""),
		}, all...)...)),
		{name: "both go", events: []source.Event{with()}, edge: counts{removed: 1}, see: by(s.plain, "shop/edge", "web")},
		step("another HTTPS listener", nil, with(secure("b", "two"))),
		step("another certificate of it", nil, with(secure("b", "one"))),
		step("it comes first", nil, gatewayOf(t, append([]string{secure("b", "one")}, all...)...)),
		step("only routes of its namespace", nil, gatewayOf(t, append([]string{`{"name":"b","port":443,"protocol":"HTTPS","hostname":"b.example.com","tls":{"certificateRefs":[{"name":"one"}]}}`}, all...)...)),
		step("it goes", nil, with()),
		step("the certificate is renewed", nil, s.certificate("one")),
		step("another backend of the TCPRoute at the Gateway", s.greets(at("9000", ""), "other"), tcpRoute(t, "shop", "edge", onGateway("tcp"), to("other", 5432, 1))),
		step("weights of it", s.greets(at("9000", ""), "db"), tcpRoute(t, "shop", "edge", onGateway("tcp"), to("other", 5432, 0), to("db", 5432, 1))),
		step("another host name of the TLSRoute", s.greets(at("8443", "more.example.com"), "secret"), tlsRoute(t, "edge", onGateway("tls"), to("secret", 443, 1), "more.example.com", "pass.example.com")),
		step("another TLSRoute", s.greets(at("8443", "third.example.com"), "secret"), tlsRoute(t, "third", onGateway("tls"), to("secret", 443, 1), "third.example.com")),
		step("host name and TLSRoute go", s.greets(at("8443", "pass.example.com"), "secret"), gone(tlsRoute(t, "third", "", "")), tlsRoute(t, "edge", onGateway("tls"), to("secret", 443, 1), "pass.example.com")),
	}
}
