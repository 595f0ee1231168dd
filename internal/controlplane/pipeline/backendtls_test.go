// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// authorities are two certificates of nobody in particular.
const (
	authorityA = `-----BEGIN CERTIFICATE-----
MIIBhDCCASmgAwIBAgIUFtMc2DzaAxyA46ybTFhbR8wDYGQwCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLZXhhbXBsZS5jb20wIBcNMjYxMTIxMTAyNTI3WhgPMjEyNjEw
MjgxMDI1MjdaMBYxFDASBgNVBAMMC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAEP02tF5ky05MIItF/8ar+NT400GDWMcu+hXqEOgaGlyTRGeuJ
8QKDIibbPskZ/i+ijbJHtDQeOB6PNfElrOqkg6NTMFEwHQYDVR0OBBYEFKWH1a5Q
VxGK4r9rlqhP12axWCnPMB8GA1UdIwQYMBaAFKWH1a5QVxGK4r9rlqhP12axWCnP
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAJw88j3hx/swwnTs
rPuPeqBUVPmfDGnKOk+MuXY34Rs9AiEAqXXdTfpSyVVGD1e7TE8rgQ6IZzfBFe6Z
J/n52oTi0fc=
-----END CERTIFICATE-----
`
	authorityTwice = authorityA + authorityA
)

func bundle(ns, text string) source.Event {
	b, ok := source.CABundleFrom(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ca"}, Data: map[string]string{"ca.crt": text}})
	if !ok {
		panic("no ca.crt in a ConfigMap with ca.crt")
	}
	return source.Event{Kind: source.CAConfigMap, Key: b.Key, Object: b}
}

// published are the names that a result sets, as TYPE NAME, sorted.
func published(r Result) []string {
	var out []string
	for _, c := range r.Resources {
		name := c.Resource.Key.TypeURL[strings.LastIndexByte(c.Resource.Key.TypeURL, '.')+1:] + " " + c.Resource.Key.Name
		if c.Remove {
			name = "no " + name
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// TestBackendTLS follows a policy from its first day to its last: which clusters and Secrets there are,
// which of them a change touches, and what its author is told.
func TestBackendTLS(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	w := &world{rnd: rand.New(rand.NewPCG(1, 1))}
	key := model.Key{Namespace: "a", Name: "web"}
	service := model.Service{Key: key, Ports: []model.ServicePort{{Name: "https", Port: 443, Protocol: model.TCP, Declared: true}}}
	plainGateway := func() *gwapiv1.Gateway {
		gw := w.gateway(model.Key{Namespace: "a", Name: "gw"})
		gw.Spec.Listeners = []gwapiv1.Listener{{Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType}}
		gw.Spec.TLS = nil
		return gw
	}
	port := gwapiv1.PortNumber(443)
	route := w.httpRoute(model.Key{Namespace: "a", Name: "r"})
	route.Spec.ParentRefs = []gwapiv1.ParentReference{{Name: "gw"}}
	route.Spec.Rules[0].BackendRefs = []gwapiv1.HTTPBackendRef{{BackendRef: gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Name: "web", Port: &port}}}}
	policy := w.policy(model.Key{Namespace: "a", Name: "p"})
	policy.Spec.TargetRefs[0].Name, policy.Spec.TargetRefs[0].SectionName = "web", nil
	event := func(kind source.Kind, o metav1.Object) source.Event {
		return source.Event{Kind: kind, Key: model.Key{Namespace: "a", Name: o.GetName()}, Object: o}
	}
	accepted := func(r Result) string {
		if len(r.Policies) != 1 || len(r.Policies[0].New.Ancestors) != 1 {
			t.Fatalf("verdicts %+v", r.Policies)
		}
		c := r.Policies[0].New.Ancestors[0].Conditions[0]
		return string(c.Status) + " " + c.Reason
	}

	g.Apply([]source.Event{
		class(), {Kind: source.Service, Key: key, Object: service}, event(source.Gateway, plainGateway()), event("HTTPRoute", route), bundle("a", authorityA),
	}, testSettings())
	r := g.Apply([]source.Event{event("BackendTLSPolicy", policy)}, Inputs{})
	want := []string{
		"Cluster out/a/web/443/tls", "ClusterLoadAssignment out/a/web/443/tls", "RoutePart part/a/gw/80/HTTPRoute/a/r", "Secret ca/a/web/443",
		scopeType() + " scope/gateway/a/gw",
	}
	slices.Sort(want)
	if d := cmp.Diff(want, published(r)); d != "" {
		t.Errorf("a new policy:\n%s", d)
	}
	if got := accepted(r); got != "True Accepted" {
		t.Error(got)
	}
	if d := cmp.Diff([]string{"Secret ca/a/web/443"}, published(g.Apply([]source.Event{bundle("a", authorityTwice)}, Inputs{}))); d != "" {
		t.Errorf("other certificates:\n%s", d)
	}
	r = g.Apply([]source.Event{bundle("a", "")}, Inputs{})
	if d := cmp.Diff([]string{"Cluster out/a/web/443/tls", "no Secret ca/a/web/443"}, published(r)); d != "" {
		t.Errorf("no certificates:\n%s", d)
	}
	if got := accepted(r); got != "False NoValidCACertificate" {
		t.Error(got)
	}
	g.Apply([]source.Event{bundle("a", authorityA)}, Inputs{})

	withCertificate := plainGateway()
	withCertificate.Spec.TLS = &gwapiv1.GatewayTLSConfig{Backend: &gwapiv1.GatewayBackendTLS{ClientCertificateRef: &gwapiv1.SecretObjectReference{Name: "cert"}}}
	secret := model.Key{Namespace: "a", Name: "cert"}
	r = g.Apply([]source.Event{
		event(source.Gateway, withCertificate),
		{Kind: source.TLSSecret, Key: secret, Object: source.TLS{TLSSecret: model.TLSSecret{Key: secret, Certificate: "C", PrivateKey: "K"}}},
	}, Inputs{})
	own := names.Out{Namespace: "a", Service: "web", Port: 443, GatewayNamespace: "a", Gateway: "gw"}.String()
	want = []string{"Cluster " + own, "ClusterLoadAssignment " + own, "RoutePart part/a/gw/80/HTTPRoute/a/r", scopeType() + " scope/gateway/a/gw", "Secret tls/a/gw/a/cert"}
	slices.Sort(want)
	if d := cmp.Diff(want, published(r)); d != "" {
		t.Errorf("a client certificate:\n%s", d)
	}
	renewed := source.TLS{TLSSecret: model.TLSSecret{Key: secret, Certificate: "C2", PrivateKey: "K2"}}
	if d := cmp.Diff([]string{"Secret tls/a/gw/a/cert"}, published(g.Apply([]source.Event{{Kind: source.TLSSecret, Key: secret, Object: renewed}}, Inputs{}))); d != "" {
		t.Errorf("a renewed client certificate:\n%s", d)
	}

	// A route of bytes of a listener that ends TLS has clusters of its own.
	ends := withCertificate.DeepCopy()
	ends.Generation++
	terminate := gwapiv1.TLSModeTerminate
	ends.Spec.Listeners = append(ends.Spec.Listeners, gwapiv1.Listener{
		Name: "tls", Port: 8443, Protocol: gwapiv1.TLSProtocolType,
		TLS: &gwapiv1.ListenerTLSConfig{Mode: &terminate, CertificateRefs: []gwapiv1.SecretObjectReference{{Name: "cert"}}},
	})
	section := gwapiv1.SectionName("tls")
	passed := &gwapiv1.TCPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "bytes", Generation: 1}}
	passed.Spec.ParentRefs = []gwapiv1.ParentReference{{Name: "gw", SectionName: &section}}
	passed.Spec.Rules = []gwapiv1.TCPRouteRule{{BackendRefs: []gwapiv1.BackendRef{{BackendObjectReference: gwapiv1.BackendObjectReference{Name: "web", Port: &port}}}}}
	r = g.Apply([]source.Event{event(source.Gateway, ends), event("TCPRoute", passed)}, Inputs{})
	asBytes := names.Out{Namespace: "a", Service: "web", Port: 443, As: names.AsBytes, GatewayNamespace: "a", Gateway: "gw"}.String()
	for _, made := range []string{"Cluster " + asBytes, "ClusterLoadAssignment " + asBytes, scopeType() + " scope/gateway/a/gw"} {
		if !slices.Contains(published(r), made) {
			t.Errorf("a route of bytes: %q is not in %v", made, published(r))
		}
	}
	if r = g.Apply([]source.Event{event(source.Gateway, withCertificate), {Kind: "TCPRoute", Key: model.Key{Namespace: "a", Name: "bytes"}}}, Inputs{}); !slices.Contains(published(r), "no Cluster "+asBytes) {
		t.Errorf("without it: %v", published(r))
	}

	hinted := model.Slice{Key: model.Key{Namespace: "a", Name: "web-1"}, Service: key, Ports: []model.SlicePort{{Name: "https", Port: 8443}}, Endpoints: zoned("z1", "z2")}
	r = g.Apply([]source.Event{{Kind: source.EndpointSlice, Key: hinted.Key, Object: hinted}}, Inputs{})
	places := map[string]int{}
	for _, c := range r.Resources {
		places[c.Resource.Name] += len(c.Resource.Variants)
	}
	for _, name := range []string{"out/a/web/443", "out/a/web/443/tls", own} {
		if places[name] != 2 {
			t.Errorf("%s has %d variants for two zones", name, places[name])
		}
	}

	r = g.Apply([]source.Event{{Kind: "BackendTLSPolicy", Key: model.Key{Namespace: "a", Name: "p"}}}, Inputs{})
	for _, gone := range []string{"no Cluster " + own, "no Cluster out/a/web/443/tls", "no Secret ca/a/web/443", "RoutePart part/a/gw/80/HTTPRoute/a/r"} {
		if !slices.Contains(published(r), gone) {
			t.Errorf("without the policy: %q is not in %v", gone, published(r))
		}
	}
	if len(r.Policies) != 1 || !r.Policies[0].Deleted {
		t.Errorf("verdicts %+v", r.Policies)
	}
}

func scopeType() string {
	return protocol.ScopeType[strings.LastIndexByte(protocol.ScopeType, '.')+1:]
}

// TestGatewayClients: the certificates with which a Gateway checks its clients are a Secret of the port,
// which other certificates change and nothing else.
func TestGatewayClients(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	w := &world{rnd: rand.New(rand.NewPCG(1, 1))}
	gw := w.gateway(model.Key{Namespace: "a", Name: "gw"})
	gw.Spec.Listeners = []gwapiv1.Listener{{Name: "https", Port: 443, Protocol: gwapiv1.HTTPSProtocolType, TLS: &gwapiv1.ListenerTLSConfig{CertificateRefs: []gwapiv1.SecretObjectReference{{Name: "cert"}}}}}
	gw.Spec.TLS = &gwapiv1.GatewayTLSConfig{Frontend: &gwapiv1.FrontendTLSConfig{Default: gwapiv1.TLSConfig{Validation: &gwapiv1.FrontendTLSValidation{
		CACertificateRefs: []gwapiv1.ObjectReference{{Kind: "ConfigMap", Name: "ca"}},
	}}}}
	secret := model.Key{Namespace: "a", Name: "cert"}
	all := map[xds.Key]bool{}
	take := func(r Result) []string {
		for _, c := range r.Resources {
			if c.Remove {
				delete(all, c.Resource.Key)
			} else {
				all[c.Resource.Key] = true
			}
		}
		return published(r)
	}
	take(g.Apply([]source.Event{
		class(), bundle("a", authorityA),
		{Kind: source.Gateway, Key: model.Key{Namespace: "a", Name: "gw"}, Object: gw},
		{Kind: source.TLSSecret, Key: secret, Object: source.TLS{TLSSecret: model.TLSSecret{Key: secret, Certificate: "C", PrivateKey: "K"}}},
	}, testSettings()))
	if !all[xds.Key{TypeURL: envoy.SecretType, Name: names.GatewayClients("a", "gw", 443)}] || !all[xds.Key{TypeURL: envoy.ListenerType, Name: "gw/a/gw/443"}] {
		t.Errorf("published are %v", slices.Collect(maps.Keys(all)))
	}
	if d := cmp.Diff([]string{"Secret clients/a/gw/443"}, take(g.Apply([]source.Event{bundle("a", authorityTwice)}, Inputs{}))); d != "" {
		t.Errorf("other certificates:\n%s", d)
	}
	take(g.Apply([]source.Event{{Kind: source.CAConfigMap, Key: model.Key{Namespace: "a", Name: "ca"}}}, Inputs{}))
	if all[xds.Key{TypeURL: envoy.ListenerType, Name: "gw/a/gw/443"}] {
		t.Error("without certificates to check clients with, the listener is served")
	}
}

// TestCertificateEnds: once a listener's certificate has ended the Gateway's verdict says so, by the clock
// alone, and nothing that proxies get changes.
func TestCertificateEnds(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	w := &world{rnd: rand.New(rand.NewPCG(1, 1))}
	gw := w.gateway(model.Key{Namespace: "a", Name: "gw"})
	gw.Spec.TLS = nil
	gw.Spec.Listeners = []gwapiv1.Listener{{Name: "https", Port: 443, Protocol: gwapiv1.HTTPSProtocolType, TLS: &gwapiv1.ListenerTLSConfig{CertificateRefs: []gwapiv1.SecretObjectReference{{Name: "cert"}}}}}
	secret := model.Key{Namespace: "a", Name: "cert"}
	end := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	at := func(now time.Time, events ...source.Event) Result {
		in := Inputs{Now: &now}
		if len(events) > 0 {
			in = testSettings()
			in.Now = &now
		}
		return g.Apply(events, in)
	}
	at(end.Add(-time.Hour), class(), source.Event{Kind: source.Gateway, Key: model.Key{Namespace: "a", Name: "gw"}, Object: gw},
		source.Event{Kind: source.TLSSecret, Key: secret, Object: source.TLS{TLSSecret: model.TLSSecret{Key: secret, Certificate: "C", PrivateKey: "K"}, Ends: end}})
	if r := at(end.Add(-time.Minute)); len(r.Gateways) > 0 || len(r.Resources) > 0 {
		t.Errorf("before its end: %+v", r)
	}
	r := at(end.Add(time.Minute))
	if len(r.Resources) > 0 {
		t.Errorf("proxies get %v", published(r))
	}
	if len(r.Gateways) != 1 || !strings.Contains(r.Gateways[0].New.Listeners[0].Conditions[1].Message, "ended on 2026-05-06") {
		t.Errorf("the verdict is %+v", r.Gateways)
	}

	// The same of the certificate of an issuer in the chain.
	renewed := source.TLS{TLSSecret: model.TLSSecret{Key: secret, Certificate: "C", PrivateKey: "K"}, Ends: end.Add(1000 * time.Hour), IssuersEnd: end.Add(time.Hour)}
	r = at(end.Add(time.Minute), source.Event{Kind: source.TLSSecret, Key: secret, Object: renewed})
	if len(r.Gateways) != 1 || strings.Contains(r.Gateways[0].New.Listeners[0].Conditions[1].Message, "ended on") {
		t.Errorf("with a renewed certificate: %+v", r.Gateways)
	}
	r = at(end.Add(2 * time.Hour))
	if len(r.Resources) > 0 {
		t.Errorf("proxies get %v", published(r))
	}
	if c := r.Gateways; len(c) != 1 || !strings.Contains(c[0].New.Listeners[0].Conditions[1].Message, "the certificate of an issuer ended on 2026-05-06") || c[0].New.Listeners[0].Conditions[1].Status != metav1.ConditionTrue {
		t.Errorf("the verdict is %+v", c)
	}
}
