// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/names"
)

// world makes objects of a small cluster at random, with few names, so that they refer to each other.
type world struct {
	rnd *rand.Rand
	gen int64
	// home, if set, is the namespace of all objects. Those of b then also refer to a, and claim what is a's.
	home string
}

func (w *world) in() string {
	if w.home != "" {
		return w.home
	}
	return w.ns()
}

// intrudes reports whether an object is to reach into another namespace.
func (w *world) intrudes() bool { return w.home == "b" && w.rnd.IntN(2) == 0 }

func (w *world) pick(ss ...string) string { return ss[w.rnd.IntN(len(ss))] }
func (w *world) ns() string               { return w.pick("a", "b") }
func (w *world) svc() string              { return w.pick("web", "api", "db") }
func (w *world) pod() string              { return w.pick("p0", "p1", "p2", "p3") }

// event is one object that appears, changes or goes.
func (w *world) event() source.Event {
	key := model.Key{Namespace: w.in()}
	gone := w.rnd.IntN(4) == 0
	e := source.Event{}
	switch w.rnd.IntN(14) {
	case 0:
		key = model.Key{Name: w.in()}
		e = source.Event{Kind: source.Namespace, Object: model.Namespace{Name: key.Name, Meshed: w.rnd.IntN(3) > 0}}
	case 1, 2:
		key.Name = w.svc()
		e = source.Event{Kind: source.Service, Object: w.service(key)}
	case 3:
		key.Name = w.svc() + "-" + w.pick("1", "2")
		e = source.Event{Kind: source.EndpointSlice, Object: w.slice(key)}
	case 4:
		key.Name = w.pod()
		e = source.Event{Kind: source.Pod, Object: w.workload(key)}
	case 5:
		key.Name = w.pick("r1", "r2")
		e = source.Event{Kind: "HTTPRoute", Object: w.httpRoute(key)}
	case 6:
		key.Name = "g1"
		e = source.Event{Kind: "GRPCRoute", Object: w.grpcRoute(key)}
	case 7:
		key.Name = "gw"
		e = source.Event{Kind: source.Gateway, Object: w.gateway(key)}
	case 8:
		key.Name = w.pick("t1", "t2")
		e = source.Event{Kind: "TLSRoute", Object: w.tlsRoute(key)}
	case 9:
		key.Name = w.pick("t1", "t2")
		e = source.Event{Kind: "TCPRoute", Object: w.tcpRoute(key)}
	case 10:
		key.Name = w.pick("u1", "u2")
		e = source.Event{Kind: "UDPRoute", Object: w.udpRoute(key)}
	case 11:
		key.Name = w.pick("p1", "p2")
		e = source.Event{Kind: "BackendTLSPolicy", Object: w.policy(key)}
	case 12:
		key.Name = "ca"
		e = bundle(key.Namespace, w.pick(authorityA, authorityTwice, "broken"))
	case 13:
		key.Name = "cert"
		s := source.TLS{TLSSecret: model.TLSSecret{Key: key, Certificate: "C", PrivateKey: "K"}, Problem: w.pick("", "", "broken")}
		e = source.Event{Kind: source.TLSSecret, Object: s}
	}
	e.Key = key
	if gone {
		e.Object = nil
	}
	return e
}

// intrusion is an object of kinds that event does not make, in b, that is about a.
func (w *world) intrusion() source.Event {
	key := model.Key{Namespace: "b", Name: "x"}
	if w.rnd.IntN(2) == 0 {
		from := gwapiv1.Namespace("a")
		return source.Event{Kind: source.ListenerSet, Key: key, Object: &gwapiv1.ListenerSet{ObjectMeta: w.meta(key), Spec: gwapiv1.ListenerSetSpec{
			ParentRef: gwapiv1.ParentGatewayReference{Namespace: &from, Name: "gw"},
			Listeners: []gwapiv1.ListenerEntry{{Name: "more", Port: gwapiv1.PortNumber(80 + w.rnd.IntN(3)), Protocol: gwapiv1.HTTPProtocolType}},
		}}}
	}
	return source.Event{Kind: source.ReferenceGrant, Key: key, Object: &gwapiv1.ReferenceGrant{ObjectMeta: w.meta(key), Spec: gwapiv1.ReferenceGrantSpec{
		From: []gwapiv1.ReferenceGrantFrom{{Group: gwapiv1.GroupName, Kind: "HTTPRoute", Namespace: "b"}, {Group: gwapiv1.GroupName, Kind: "Gateway", Namespace: "b"}},
		To:   []gwapiv1.ReferenceGrantTo{{Kind: "Service"}, {Kind: "Secret"}},
	}}}
}

// asked changes what clients without a proxy ask for, all of which is kept in all, and returns the change.
func (w *world) asked(all map[names.Target]bool) map[names.Target]bool {
	out := map[names.Target]bool{}
	for range w.rnd.IntN(3) {
		t := names.Target{
			Namespace: w.ns(), Node: w.pick("n1", "n2", "n3"),
			Host: w.svc() + "." + w.ns() + w.pick("", ".svc", ".elsewhere") + w.pick(":80", ":81", ":82", ""),
		}
		out[t] = w.rnd.IntN(3) > 0
		if delete(all, t); out[t] {
			all[t] = true
		}
	}
	return out
}

// dialled is the same for addresses that proxies connect to.
func (w *world) dialled(all map[netip.AddrPort]bool) map[netip.AddrPort]bool {
	out := map[netip.AddrPort]bool{}
	for range w.rnd.IntN(3) {
		a := netip.MustParseAddrPort(w.pick("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.9.0.1", "198.51.100.1", "192.168.0.1") + w.pick(":80", ":81", ":8080", ":30080"))
		out[a] = w.rnd.IntN(3) > 0
		if delete(all, a); out[a] {
			all[a] = true
		}
	}
	return out
}

func (w *world) meta(k model.Key) metav1.ObjectMeta {
	w.gen++
	return metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name, UID: types.UID(k.String()), Generation: w.gen}
}

func (w *world) service(k model.Key) model.Service {
	s := model.Service{Key: k, VIPs: []netip.Addr{netip.MustParseAddr("10.1.0." + fmt.Sprint(1+w.rnd.IntN(3)+3*int(k.Name[0]%3)+9*int(k.Namespace[0]%2)))}, LocalTraffic: w.rnd.IntN(5) == 0}
	if w.rnd.IntN(4) == 0 {
		s.Headless, s.VIPs = true, nil
	} else if w.rnd.IntN(2) == 0 {
		s.LocalNodePorts = w.rnd.IntN(2) == 0
		list := []netip.Addr{netip.MustParseAddr(w.pick("10.9.0.1", "198.51.100.1"))}
		if w.home == "b" { // a cluster address, a pod's and a node's of a, and addresses of its own
			list = []netip.Addr{netip.MustParseAddr(w.pick("10.1.0.10", "10.0.0.1", "192.168.0.1", "203.0.113.9"))}
		}
		if w.rnd.IntN(2) == 0 && w.home != "b" {
			s.Balanced = list
		} else {
			s.External = list
		}
	}
	for _, p := range []model.ServicePort{{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}, {Name: "x", Port: 81, Protocol: model.TCP}, {Name: "grpc", Port: 82, Protocol: model.GRPC, Declared: true}, {Name: "udp", Port: 81, Protocol: model.UDP, Declared: true}} {
		if w.rnd.IntN(3) > 0 {
			if p.Port == 80 && len(s.Balanced)+len(s.External) > 0 {
				p.NodePort = 30080
				if w.home == "b" {
					p.NodePort = 30090
				}
			}
			s.Ports = append(s.Ports, p)
		}
	}
	return s
}

func (w *world) slice(k model.Key) model.Slice {
	s := model.Slice{Key: k, Service: model.Key{Namespace: k.Namespace, Name: k.Name[:len(k.Name)-2]}, Ports: []model.SlicePort{{Name: "http", Port: 8080}, {Name: "x", Port: 8081}, {Name: "udp", Port: 8081, UDP: true}}}
	for range w.rnd.IntN(3) {
		n := w.rnd.IntN(4)
		e := model.SliceEndpoint{Addr: netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", n+1)), Node: w.pick("n1", "n2"), Ready: w.rnd.IntN(3) > 0, Serving: true, Terminating: w.rnd.IntN(4) == 0}
		if w.rnd.IntN(4) > 0 {
			e.Pod = model.Key{Namespace: w.pick(k.Namespace, k.Namespace, "a"), Name: fmt.Sprintf("p%d", n)}
		}
		if w.rnd.IntN(4) > 0 {
			e.Hints = &model.Hints{Zones: []string{w.pick("z1", "z2")}}
			if w.rnd.IntN(2) > 0 {
				e.Hints.Nodes = []string{e.Node}
			}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func (w *world) workload(k model.Key) model.Workload {
	n := int(k.Name[1]-'0') + 1
	if w.home == "b" {
		n += 100
	}
	node := w.pick("n1", "n2") // the kubelet says its own addresses in every pod
	return model.Workload{
		Key: k, UID: k.String(), Addresses: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", n))}, Node: node,
		NodeAddresses: []netip.Addr{netip.MustParseAddr("192.168.0." + node[1:])}, Ended: w.rnd.IntN(6) == 0,
		ServiceAccount: w.pick("default", "web"), Kind: w.pick(names.KindSidecar, names.KindSidecar, "", names.KindClient), Ready: w.rnd.IntN(2) == 0,
	}
}

func (w *world) parents(k model.Key) []gwapiv1.ParentReference {
	kind, group := gwapiv1.Kind("Service"), gwapiv1.Group("")
	ns := gwapiv1.Namespace(w.ns())
	if w.home == "a" {
		ns = "a"
	}
	out := []gwapiv1.ParentReference{{Group: &group, Kind: &kind, Namespace: &ns, Name: gwapiv1.ObjectName(w.svc())}}
	if w.rnd.IntN(2) == 0 {
		out = append(out, gwapiv1.ParentReference{Name: "gw"})
	}
	if w.intrudes() {
		of := gwapiv1.Namespace("a")
		out = append(out, gwapiv1.ParentReference{Namespace: &of, Name: "gw"})
	}
	return out
}

func (w *world) backend() gwapiv1.BackendRef {
	port := gwapiv1.PortNumber(80 + w.rnd.IntN(3))
	weight := int32(w.rnd.IntN(3))
	out := gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Name: gwapiv1.ObjectName(w.svc()), Port: &port}, Weight: &weight}
	if w.intrudes() {
		of := gwapiv1.Namespace("a")
		out.Namespace = &of
	}
	return out
}

func (w *world) httpRoute(k model.Key) *gwapiv1.HTTPRoute {
	path, kind := w.pick("/", "/a", "/b"), gwapiv1.PathMatchPathPrefix
	return &gwapiv1.HTTPRoute{ObjectMeta: w.meta(k), Spec: gwapiv1.HTTPRouteSpec{
		CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: w.parents(k)},
		Rules: []gwapiv1.HTTPRouteRule{{
			Matches:     []gwapiv1.HTTPRouteMatch{{Path: &gwapiv1.HTTPPathMatch{Type: &kind, Value: &path}}},
			BackendRefs: []gwapiv1.HTTPBackendRef{{BackendRef: w.backend()}, {BackendRef: w.backend()}},
		}},
	}}
}

func (w *world) grpcRoute(k model.Key) *gwapiv1.GRPCRoute {
	return &gwapiv1.GRPCRoute{ObjectMeta: w.meta(k), Spec: gwapiv1.GRPCRouteSpec{
		CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: w.parents(k)},
		Rules:           []gwapiv1.GRPCRouteRule{{BackendRefs: []gwapiv1.GRPCBackendRef{{BackendRef: w.backend()}}}},
	}}
}

func (w *world) tlsRoute(k model.Key) *gwapiv1.TLSRoute {
	return &gwapiv1.TLSRoute{ObjectMeta: w.meta(k), Spec: gwapiv1.TLSRouteSpec{
		CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: w.parents(k)}, Hostnames: []gwapiv1.Hostname{gwapiv1.Hostname(w.pick("a.com", "*.a.com", "b.com"))},
		Rules: []gwapiv1.TLSRouteRule{{BackendRefs: []gwapiv1.BackendRef{w.backend(), w.backend()}}},
	}}
}

func (w *world) tcpRoute(k model.Key) *gwapiv1.TCPRoute {
	return &gwapiv1.TCPRoute{ObjectMeta: w.meta(k), Spec: gwapiv1.TCPRouteSpec{
		CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: w.parents(k)}, Rules: []gwapiv1.TCPRouteRule{{BackendRefs: []gwapiv1.BackendRef{w.backend(), w.backend()}}},
	}}
}

func (w *world) udpRoute(k model.Key) *gwapiv1.UDPRoute {
	return &gwapiv1.UDPRoute{ObjectMeta: w.meta(k), Spec: gwapiv1.UDPRouteSpec{
		CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: w.parents(k)}, Rules: []gwapiv1.UDPRouteRule{{BackendRefs: []gwapiv1.BackendRef{w.backend(), w.backend()}}},
	}}
}

func (w *world) gateway(k model.Key) *gwapiv1.Gateway {
	mode, name := gwapiv1.TLSModePassthrough, gwapiv1.Hostname(w.pick("*.a.com", "a.com"))
	gw := &gwapiv1.Gateway{ObjectMeta: w.meta(k), Spec: gwapiv1.GatewaySpec{
		GatewayClassName: "tulle",
		Listeners: []gwapiv1.Listener{
			{Name: "http", Port: gwapiv1.PortNumber(80 + 8000*w.rnd.IntN(2)), Protocol: gwapiv1.HTTPProtocolType},
			{Name: "tcp", Port: gwapiv1.PortNumber(81 + 8000*w.rnd.IntN(2)), Protocol: gwapiv1.TCPProtocolType},
			{Name: "udp", Port: gwapiv1.PortNumber(81 + 8000*w.rnd.IntN(2)), Protocol: gwapiv1.UDPProtocolType},
			{Name: "tls", Port: 443, Protocol: gwapiv1.TLSProtocolType, TLS: &gwapiv1.ListenerTLSConfig{Mode: &mode}},
			{Name: "named", Port: 443, Protocol: gwapiv1.TLSProtocolType, TLS: &gwapiv1.ListenerTLSConfig{Mode: &mode}, Hostname: &name},
		},
	}}
	cert := gwapiv1.SecretObjectReference{Name: "cert"}
	if w.rnd.IntN(2) == 0 {
		gw.Spec.TLS = &gwapiv1.GatewayTLSConfig{Backend: &gwapiv1.GatewayBackendTLS{ClientCertificateRef: &cert}}
	}
	if w.rnd.IntN(2) == 0 {
		gw.Spec.Listeners = append(gw.Spec.Listeners, gwapiv1.Listener{
			Name: "https", Port: 8443, Protocol: gwapiv1.HTTPSProtocolType, TLS: &gwapiv1.ListenerTLSConfig{CertificateRefs: []gwapiv1.SecretObjectReference{cert}},
		})
		if gw.Spec.TLS == nil {
			gw.Spec.TLS = &gwapiv1.GatewayTLSConfig{}
		}
		gw.Spec.TLS.Frontend = &gwapiv1.FrontendTLSConfig{Default: gwapiv1.TLSConfig{Validation: &gwapiv1.FrontendTLSValidation{
			CACertificateRefs: []gwapiv1.ObjectReference{{Kind: "ConfigMap", Name: "ca"}},
		}}}
	}
	return gw
}

func (w *world) policy(k model.Key) *gwapiv1.BackendTLSPolicy {
	target := gwapiv1.LocalPolicyTargetReferenceWithSectionName{LocalPolicyTargetReference: gwapiv1.LocalPolicyTargetReference{Kind: "Service", Name: gwapiv1.ObjectName(w.svc())}}
	if section := gwapiv1.SectionName(w.pick("http", "x", "grpc")); w.rnd.IntN(2) == 0 {
		target.SectionName = &section
	}
	return &gwapiv1.BackendTLSPolicy{ObjectMeta: w.meta(k), Spec: gwapiv1.BackendTLSPolicySpec{
		TargetRefs: []gwapiv1.LocalPolicyTargetReferenceWithSectionName{target},
		Validation: gwapiv1.BackendTLSPolicyValidation{CACertificateRefs: []gwapiv1.LocalObjectReference{{Kind: "ConfigMap", Name: "ca"}}, Hostname: "web.example"},
	}}
}
