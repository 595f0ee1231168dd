// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"maps"
	"slices"
	"strings"
	"testing"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
)

// TestUnservedListener: a route on a listener without a certificate says so, follows when the certificate
// comes, and is not judged again when it is renewed.
func TestUnservedListener(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	w := &world{}
	gwKey, cert := model.Key{Namespace: "a", Name: "gw"}, model.Key{Namespace: "a", Name: "cert"}
	gateway := &gwapiv1.Gateway{ObjectMeta: w.meta(gwKey), Spec: gwapiv1.GatewaySpec{GatewayClassName: "tulle", Listeners: []gwapiv1.Listener{
		{Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType},
		{Name: "https", Port: 443, Protocol: gwapiv1.HTTPSProtocolType, TLS: &gwapiv1.ListenerTLSConfig{CertificateRefs: []gwapiv1.SecretObjectReference{{Name: "cert"}}}},
	}}}
	section := gwapiv1.SectionName("https")
	one, both := &gwapiv1.HTTPRoute{ObjectMeta: w.meta(model.Key{Namespace: "a", Name: "one"})}, &gwapiv1.HTTPRoute{ObjectMeta: w.meta(model.Key{Namespace: "a", Name: "both"})}
	one.Spec.ParentRefs = []gwapiv1.ParentReference{{Name: "gw", SectionName: &section}}
	both.Spec.ParentRefs = []gwapiv1.ParentReference{{Name: "gw"}}
	g.Apply([]source.Event{
		class(),
		{Kind: source.Gateway, Key: gwKey, Object: gateway},
		{Kind: "HTTPRoute", Key: model.Key{Namespace: "a", Name: "one"}, Object: one},
		{Kind: "HTTPRoute", Key: model.Key{Namespace: "a", Name: "both"}, Object: both},
	}, testSettings())
	parent := func(name string) gatewayapi.RouteParent {
		return maps.Collect(g.verdicts.routes.All())[model.Object{Kind: gatewayapi.KindHTTPRoute, Namespace: "a", Name: name}].Parents[0]
	}
	config := func() string {
		return maps.Collect(g.verdicts.routes.All())[model.Object{Kind: gatewayapi.KindHTTPRoute, Namespace: "a", Name: "one"}].Needs[0].Config
	}
	before := config()
	if p := parent("one"); !p.Idle || !strings.Contains(p.Unserved, "listener https of Gateway a/gw is not served: spec.listeners[1].tls.certificateRefs[0]: there is no Secret a/cert") {
		t.Errorf("on https alone: %+v", p)
	}
	if p := parent("both"); p.Idle || !strings.Contains(p.Unserved, "listener https of Gateway a/gw is not served") {
		t.Errorf("on both: %+v", p)
	}
	secret := func(text string) source.Event {
		return source.Event{Kind: source.TLSSecret, Key: cert, Object: source.TLS{TLSSecret: model.TLSSecret{Key: cert, Certificate: text}}}
	}
	if r := g.Apply([]source.Event{secret("one")}, Inputs{}); len(r.Routes) != 2 || parent("one").Idle || parent("one").Unserved != "" || config() == before {
		t.Errorf("with a certificate: %d routes have changed, %+v", len(r.Routes), parent("one"))
	}
	g.Apply([]source.Event{secret("two")}, Inputs{})
	if n := g.Evals()["route verdicts"]; n != 0 {
		t.Errorf("a renewed certificate had %d routes judged", n)
	}
	if r := g.Apply([]source.Event{{Kind: source.TLSSecret, Key: cert}}, Inputs{}); len(r.Routes) != 2 || !parent("one").Idle {
		t.Errorf("the certificate has gone: %d routes have changed, %+v", len(r.Routes), parent("one"))
	}
}

// TestGatewayAddresses: a Gateway has the addresses of the Service made for it, whatever that is called, and
// not those of another Service of the name that would be given.
func TestGatewayAddresses(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	w := &world{}
	gwKey := model.Key{Namespace: "a", Name: "1st"}
	gateway := &gwapiv1.Gateway{ObjectMeta: w.meta(gwKey), Spec: gwapiv1.GatewaySpec{
		GatewayClassName: "tulle", Listeners: []gwapiv1.Listener{{Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType}},
	}}
	service := func(name, gateway string, addresses ...string) source.Event {
		k := model.Key{Namespace: "a", Name: name}
		return source.Event{Kind: source.Service, Key: k, Object: model.Service{Key: k, Gateway: gateway, Published: addresses, LoadBalancer: addresses}}
	}
	for _, step := range []struct {
		what   string
		events []source.Event
		want   []string
	}{
		{"somebody's Service", []source.Event{class(), {Kind: source.Gateway, Key: gwKey, Object: gateway}, service("1st-tulle", "", "192.0.2.9")}, nil},
		{"its own", []source.Event{service("gw-1st-x-tulle", "1st", "192.0.2.1")}, []string{"192.0.2.1"}},
		{"of another type", []source.Event{service("gw-1st-x-tulle", "1st", "10.0.0.1", "fd00::1")}, []string{"10.0.0.1", "fd00::1"}},
		{"deleted", []source.Event{{Kind: source.Service, Key: model.Key{Namespace: "a", Name: "gw-1st-x-tulle"}}}, nil},
	} {
		g.Apply(step.events, testSettings())
		if got := maps.Collect(g.verdicts.gateways.All())[gwKey].Addresses; !slices.Equal(got, step.want) {
			t.Errorf("%s: addresses %v, want %v", step.what, got, step.want)
		}
	}
}

// TestClassDeleted: while the class that the operator creates is missing, nothing that it served ends. Another
// class that is deleted takes its Gateways out of the mesh.
func TestClassDeleted(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	w := &world{}
	events := []source.Event{class()}
	other := class()
	other.Key.Name = "edge"
	events = append(events, other)
	for name, of := range map[string]gwapiv1.ObjectName{"a": "tulle", "b": "edge"} {
		k := model.Key{Namespace: "a", Name: name}
		events = append(events, source.Event{Kind: source.Gateway, Key: k, Object: &gwapiv1.Gateway{ObjectMeta: w.meta(k), Spec: gwapiv1.GatewaySpec{
			GatewayClassName: of, Listeners: []gwapiv1.Listener{{Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType}},
		}}})
	}
	g.Apply(events, testSettings())
	if n := len(maps.Collect(g.verdicts.gateways.All())); n != 2 {
		t.Fatalf("%d Gateways", n)
	}
	r := g.Apply([]source.Event{{Kind: source.GatewayClass, Key: class().Key}, {Kind: source.GatewayClass, Key: other.Key}}, Inputs{})
	if len(r.Gateways) != 1 || !r.Gateways[0].Deleted || r.Gateways[0].Key.Name != "b" {
		t.Errorf("verdicts %+v", r.Gateways)
	}
}
