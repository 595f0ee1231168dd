// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"slices"
	"strings"
	"time"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// Backends returns the Service ports that the route sends or mirrors to, each once, sorted, whether they exist or
// not; Lookup.Senders is made from it.
func (r *Route) Backends() []OfKind[model.PortKey] {
	var out []OfKind[model.PortKey]
	add := func(ref gwapiv1.BackendObjectReference) {
		if key, ok := servicePort(r.source.Namespace, ref); ok {
			out = append(out, OfKind[model.PortKey]{r.source.Kind, key})
		}
	}
	for _, u := range r.rules {
		for _, m := range u.mirrors {
			add(m.ref)
		}
		for _, b := range u.backends {
			add(b.ref)
		}
	}
	slices.SortFunc(out, func(a, b OfKind[model.PortKey]) int { return strings.Compare(a.To.String(), b.To.String()) })
	return slices.Compact(out)
}

// IsCore reports whether a group is that of Service and Secret; "core" is an alias some documents use.
func IsCore(g gwapiv1.Group) bool { return g == "" || g == "core" }

// servicePort reads a reference to a Service port; false for other kinds and without a port.
func servicePort(namespace string, ref gwapiv1.BackendObjectReference) (model.PortKey, bool) {
	port := or(ref.Port, 0)
	if !IsCore(or(ref.Group, "")) || or(ref.Kind, KindService) != KindService || port < 1 || port > 65535 {
		return model.PortKey{}, false
	}
	key := model.Key{Namespace: string(or(ref.Namespace, gwapiv1.Namespace(namespace))), Name: string(ref.Name)}
	return model.PortKey{Service: key, Port: uint16(port)}, true
}

// site is where rules are carried out.
type site struct {
	l Lookup
	// mesh: routes on a Service need no ReferenceGrant for their backends (GEP-1294).
	mesh bool
	// port of the listener, for redirections that don't say.
	port uint16
	// endsTLS: the listener ends the TLS of clients, so that TLS to the backends is another.
	endsTLS bool
	// certificate is the Gateway, if it has a client certificate to show to backends.
	certificate model.Key
	// idle is model.GatewayClientSettings.StreamIdle; it is not used in the mesh.
	idle time.Duration
}

// via is the variant of a port's cluster that a rule at this site sends to.
func (s site) via(service model.Key, p model.ServicePort) model.Via {
	if !hasBackendTLS(s.l, service, p) {
		return model.Via{}
	}
	return model.Via{TLS: true, Gateway: s.certificate}
}

// hasBackendTLS reports whether a policy is in effect on a port, usable or not.
func hasBackendTLS(l Lookup, service model.Key, p model.ServicePort) bool {
	return p.Protocol != model.UDP && l.BackendTLS(service, p.Name)
}

// target is what a backend reference leads to.
type target struct {
	port     model.PortKey
	as       string // names.Out.As
	via      model.Via
	affinity bool
}

// resolve follows a backend reference of r.
func (s site) resolve(r *Route, field string, ref gwapiv1.BackendObjectReference) (target, *Problem) {
	fail := func(reason gwapiv1.RouteConditionReason, format string, args ...any) (target, *Problem) {
		p := problemf(reason, field, format, args...)
		return target{}, &p
	}
	if !IsCore(or(ref.Group, "")) || or(ref.Kind, KindService) != KindService {
		return fail(gwapiv1.RouteReasonInvalidKind, "%s is not supported, only Service of the core group", kindText(or(ref.Group, ""), or(ref.Kind, KindService)))
	}
	key, ok := servicePort(r.source.Namespace, ref)
	if !ok {
		return fail(gwapiv1.RouteReasonBackendNotFound, "needs a port from 1 to 65535")
	}
	to := key.Service
	from := grantee{kind: r.source.Kind, namespace: r.source.Namespace}
	if !s.mesh && to.Namespace != r.source.Namespace && !granted(s.l, from, KindService, to) {
		return fail(gwapiv1.RouteReasonRefNotPermitted, "no ReferenceGrant in namespace %s lets objects of kind %s in namespace %s refer to Service %s",
			to.Namespace, from.kind, from.namespace, to.Name)
	}
	svc, ok := s.l.Service(to)
	if !ok {
		return fail(gwapiv1.RouteReasonBackendNotFound, "Service %s does not exist", to)
	}
	if svc.ExternalName != "" {
		return fail(gwapiv1.RouteReasonInvalidKind, "Service %s is of type ExternalName, which can't be a backend", to)
	}
	if r.IsUDP() {
		if !hasUDP(svc, key.Port) {
			return fail(gwapiv1.RouteReasonBackendNotFound, "Service %s has no UDP port %d; it has %s", to, key.Port, PortList(svc))
		}
		return target{key, r.SpokenAs(model.ServicePort{}, ""), model.Via{}, svc.AffinitySeconds > 0}, nil
	}
	p, ok := portOf(svc, key.Port)
	if !ok {
		return fail(gwapiv1.RouteReasonBackendNotFound, "Service %s has no port %d; it has %s", to, key.Port, PortList(svc))
	}
	via := s.via(to, p)
	if why := r.refused(s.l, p, key, via.TLS); why != "" {
		return fail(gwapiv1.RouteReasonUnsupportedProtocol, "port %d of Service %s %s", key.Port, to, why)
	}
	if r.IsOpaque() {
		if s.endsTLS && via.TLS {
			return target{key, names.AsBytes, via, svc.AffinitySeconds > 0}, nil
		}
		// What comes may be TLS already, which its client checks.
		return target{key, r.SpokenAs(p, ""), model.Via{}, svc.AffinitySeconds > 0}, nil
	}
	as := ""
	if via == (model.Via{}) {
		own, _ := s.l.Protocol(key)
		as = r.SpokenAs(p, own)
	}
	return target{key, as, via, svc.AffinitySeconds > 0}, nil
}

// refused says why the route can't send to a port, with which the proxy begins TLS or not. Only appProtocol
// contradicts a route: a port's name and number mean nothing in the Gateway API (GEP-1911).
func (r *Route) refused(l Lookup, p model.ServicePort, key model.PortKey, tls bool) string {
	grpc := r.protocol == model.GRPC
	switch {
	case p.Protocol == model.UDP:
		return "is not TCP"
	case r.IsOpaque():
		return ""
	case tls:
		if proto := ProtocolInTLS(l, key, p); grpc && proto != model.GRPC && proto != model.HTTP2 {
			return "is not known to speak gRPC inside TLS: set appProtocol: kubernetes.io/h2c"
		}
	case !p.Fixed:
	case !p.Protocol.IsHTTP():
		value := "http"
		if grpc {
			value = "kubernetes.io/h2c"
		}
		return "does not speak HTTP in the clear by its appProtocol: where it does, set appProtocol: " + value + "; where it speaks HTTPS, add a BackendTLSPolicy"
	case grpc && p.Protocol == model.HTTP:
		return "speaks HTTP/1.1 by its appProtocol, and gRPC needs HTTP/2: set appProtocol: kubernetes.io/h2c"
	}
	return ""
}

// ServicePort returns a port of a Service by number. A number may stand for TCP and UDP: TCP is preferred.
func ServicePort(l Lookup, port model.PortKey) (model.ServicePort, bool) {
	svc, ok := l.Service(port.Service)
	if !ok {
		return model.ServicePort{}, false
	}
	return portOf(svc, port.Port)
}

// portOf finds a port by number. A number may stand for TCP and UDP: TCP is preferred.
func portOf(svc model.Service, port uint16) (model.ServicePort, bool) {
	var found model.ServicePort
	ok := false
	for _, p := range svc.Ports {
		if p.Port == port && (!ok || p.Protocol != model.UDP) {
			found, ok = p, true
		}
	}
	return found, ok
}

// PortList lists the ports of a Service in words.
func PortList(svc model.Service) string {
	var out []string
	for _, p := range svc.Ports {
		s := fmt.Sprint(p.Port)
		if p.Name != "" {
			s += " (" + p.Name + ")"
		}
		out = append(out, s)
	}
	if svc.MorePorts == 0 {
		return list(out)
	}
	served, fix := svc.TCPPorts(), "divide the Service"
	if served < model.MaxPorts {
		fix = fmt.Sprintf("the larger Services of a namespace may have %d ports together, so remove ports that are not needed or move Services to another namespace", model.NamespacePorts)
	}
	return fmt.Sprintf("%s, and %d TCP ports beyond the first %d of spec.ports, which cannot be used in routes; %s", list(out), svc.MorePorts, served, fix)
}

// references returns what is wrong with the references of a route's rules, in their order.
func (s site) references(r *Route) []Problem {
	var ps []Problem
	for _, u := range r.rules {
		for _, m := range u.mirrors {
			if _, p := s.resolve(r, m.field, m.ref); p != nil {
				ps = append(ps, *p)
			}
		}
		for _, b := range u.backends {
			if _, p := s.resolve(r, b.field, b.ref); p != nil {
				ps = append(ps, *p)
			}
		}
	}
	return ps
}

// build makes the model's rule of one match. A rule with problems keeps only its match: it answers 500.
func (s site) build(r *Route, u rule, m match) model.Rule {
	out := model.Rule{Name: u.name, Source: r.source, Match: m.Match}
	if len(u.problems) > 0 {
		return out
	}
	out.RequestHeaders, out.ResponseHeaders = u.requestHeaders, u.responseHeaders
	out.Timeout, out.BackendTimeout, out.Retry = u.timeout, u.backendTimeout, u.retry
	out.Rewrite, out.CORS = u.rewrite, u.cors
	if !s.mesh {
		out.Idle = u.idle(r.protocol, s.idle)
	}
	if u.redirect != nil {
		out.Redirect = s.redirect(*u.redirect)
	}
	for _, m := range u.mirrors {
		if t, p := s.resolve(r, m.field, m.ref); p == nil && m.numerator > 0 {
			out.Mirrors = append(out.Mirrors, model.Mirror{Backend: t.port, As: t.as, Via: t.via, Numerator: m.numerator, Denominator: m.denominator})
		}
	}
	usable := false
	for _, b := range u.backends {
		if b.weight == 0 {
			continue
		}
		t, p := s.resolve(r, b.field, b.ref)
		if p != nil {
			out.Backends = append(out.Backends, model.WeightedBackend{Weight: b.weight, Invalid: true})
			continue
		}
		usable = true
		out.Affinity = out.Affinity || t.affinity
		out.Backends = append(out.Backends, model.WeightedBackend{
			Backend: t.port, As: t.as, Via: t.via, Weight: b.weight, RequestHeaders: b.requestHeaders, ResponseHeaders: b.responseHeaders, Rewrite: b.rewrite,
		})
	}
	if !usable {
		out.Backends = nil
	}
	return out
}

// redirect settles the port of the Location (HTTPRequestRedirectFilter.port): the one given, else the
// scheme's own where a scheme is given, else the listener's. Leaving out a scheme's own port is the
// translation's.
func (s site) redirect(r model.Redirect) *model.Redirect {
	switch {
	case r.Port != 0:
	case r.Scheme == "http":
		r.Port = 80
	case r.Scheme == "https":
		r.Port = 443
	default:
		r.Port = s.port // 0 in the mesh: see onMeshPort
	}
	return &r
}
