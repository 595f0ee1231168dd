// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/names"
)

func ptr[T any](v T) *T { return &v }

func aClass(name, controller string) gwapiv1.GatewayClass {
	return gwapiv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: gwapiv1.GatewayClassSpec{ControllerName: gwapiv1.GatewayController(controller)}}
}

func aGateway(class string, change func(*gwapiv1.GatewaySpec)) gwapiv1.Gateway {
	gw := gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "gw"}, Spec: gwapiv1.GatewaySpec{
		GatewayClassName: gwapiv1.ObjectName(class), Listeners: []gwapiv1.Listener{{Name: "l"}},
	}}
	if change != nil {
		change(&gw.Spec)
	}
	return gw
}

func certificate(s *gwapiv1.GatewaySpec) { s.Listeners[0].TLS = tls(nil) }

func tls(mode *gwapiv1.TLSModeType) *gwapiv1.ListenerTLSConfig {
	return &gwapiv1.ListenerTLSConfig{Mode: mode, CertificateRefs: []gwapiv1.SecretObjectReference{{Name: "cert"}}}
}

func aSet(namespace string, ref gwapiv1.ParentGatewayReference) gwapiv1.ListenerSet {
	return gwapiv1.ListenerSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "s"}, Spec: gwapiv1.ListenerSetSpec{
		ParentRef: ref, Listeners: []gwapiv1.ListenerEntry{{Name: "l", TLS: tls(nil)}},
	}}
}

func aPolicy(kind gwapiv1.Kind) gwapiv1.BackendTLSPolicy {
	return gwapiv1.BackendTLSPolicy{Spec: gwapiv1.BackendTLSPolicySpec{Validation: gwapiv1.BackendTLSPolicyValidation{
		CACertificateRefs: []gwapiv1.LocalObjectReference{{Kind: kind, Name: "ca"}},
	}}}
}

// TestReferences: the control plane has to read Secrets and ConfigMaps if something that it serves refers to one:
// Gateways of other controllers' classes, and what is attached to them, do not count.
func TestReferences(t *testing.T) {
	frontend := func(s *gwapiv1.GatewaySpec) {
		s.TLS = &gwapiv1.GatewayTLSConfig{Frontend: &gwapiv1.FrontendTLSConfig{PerPort: []gwapiv1.TLSPortConfig{{TLS: gwapiv1.TLSConfig{
			Validation: &gwapiv1.FrontendTLSValidation{CACertificateRefs: []gwapiv1.ObjectReference{{Kind: "ConfigMap", Name: "ca"}}},
		}}}}}
	}
	ours, theirs := aClass(names.GatewayClass, names.ControllerName), aClass("theirs", "example.com/gateway")
	to := gwapiv1.ParentGatewayReference{Name: "gw"}
	for name, c := range map[string]struct {
		in   references
		want bool
	}{
		"nothing":                       {},
		"no reference":                  {in: of(ours, aGateway(names.GatewayClass, nil))},
		"a certificate":                 {in: of(ours, aGateway(names.GatewayClass, certificate)), want: true},
		"another class of Tulle's":      {in: of(aClass("mine", names.ControllerName), aGateway("mine", certificate)), want: true},
		"another controller's":          {in: of(theirs, aGateway("theirs", certificate))},
		"no class":                      {in: of(ours, aGateway("none", certificate))},
		"the operator's class is away":  {in: of(theirs, aGateway(names.GatewayClass, certificate)), want: true},
		"its name is another's":         {in: of(aClass(names.GatewayClass, "example.com/gateway"), aGateway(names.GatewayClass, certificate))},
		"clients' authorities":          {in: of(ours, aGateway(names.GatewayClass, frontend)), want: true},
		"clients' authorities, another": {in: of(theirs, aGateway("theirs", frontend))},
		"for backends": {in: of(ours, aGateway(names.GatewayClass, func(s *gwapiv1.GatewaySpec) {
			s.TLS = &gwapiv1.GatewayTLSConfig{Backend: &gwapiv1.GatewayBackendTLS{ClientCertificateRef: &gwapiv1.SecretObjectReference{Name: "cert"}}}
		})), want: true},
		"TLS without a reference": {in: of(ours, aGateway(names.GatewayClass, func(s *gwapiv1.GatewaySpec) {
			s.TLS = &gwapiv1.GatewayTLSConfig{Frontend: &gwapiv1.FrontendTLSConfig{}}
		}))},
		"not terminated": {in: of(ours, aGateway(names.GatewayClass, func(s *gwapiv1.GatewaySpec) {
			s.Listeners[0].TLS = tls(ptr(gwapiv1.TLSModePassthrough))
		}))},
		"another kind": {in: of(ours, aGateway(names.GatewayClass, func(s *gwapiv1.GatewaySpec) {
			certificate(s)
			s.Listeners[0].TLS.CertificateRefs[0].Group = ptr(gwapiv1.Group("example.com"))
		}))},
		"a set":                         {in: of(ours, aGateway(names.GatewayClass, nil), aSet("edge", to)), want: true},
		"a set of another namespace":    {in: of(ours, aGateway(names.GatewayClass, nil), aSet("shop", gwapiv1.ParentGatewayReference{Name: "gw", Namespace: ptr(gwapiv1.Namespace("edge"))})), want: true},
		"a set of no Gateway":           {in: of(ours, aGateway(names.GatewayClass, nil), aSet("shop", to))},
		"a set of another's":            {in: of(theirs, aGateway("theirs", nil), aSet("edge", to))},
		"a set of another kind":         {in: of(ours, aGateway(names.GatewayClass, nil), aSet("edge", gwapiv1.ParentGatewayReference{Name: "gw", Kind: ptr(gwapiv1.Kind("Mesh"))}))},
		"a policy":                      {in: of(aPolicy("ConfigMap")), want: true},
		"a policy with what isn't read": {in: of(aPolicy("Secret"))},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.in.any(); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// of are references of these objects.
func of(objects ...any) references {
	var r references
	for _, o := range objects {
		switch o := o.(type) {
		case gwapiv1.GatewayClass:
			r.classes.Items = append(r.classes.Items, o)
		case gwapiv1.Gateway:
			r.gateways.Items = append(r.gateways.Items, o)
		case gwapiv1.ListenerSet:
			r.sets.Items = append(r.sets.Items, o)
		case gwapiv1.BackendTLSPolicy:
			r.policies.Items = append(r.policies.Items, o)
		}
	}
	return r
}

// TestReferring: an event passes if and only if it can change whether an object that Tulle serves refers to a Secret or ConfigMap.
func TestReferring(t *testing.T) {
	class, bare, https, set := aClass("mine", names.ControllerName), aGateway("mine", nil), aGateway("mine", certificate), aSet("edge", gwapiv1.ParentGatewayReference{Name: "gw"})
	elsewhere, route, plain, moved := aGateway("theirs", nil), aGateway("mine", func(s *gwapiv1.GatewaySpec) { s.Listeners[0].Name = "other" }), set, set
	plain.Spec.Listeners = []gwapiv1.ListenerEntry{{Name: "l"}}
	moved.Spec.ParentRef.Name = "other"
	policy, other := aPolicy("ConfigMap"), aPolicy("Secret")
	p := referring()
	for name, c := range map[string]struct {
		old, new client.Object
		want     bool
	}{
		"a class comes":                {nil, &class, true},
		"a class goes":                 {&class, nil, true},
		"the status of a class":        {&class, &class, false},
		"a Gateway comes":              {nil, &bare, true}, // a ListenerSet may wait for it
		"a Gateway goes":               {&bare, nil, true},
		"a Gateway gets a certificate": {&bare, &https, true},
		"a Gateway goes to a class":    {&elsewhere, &bare, true},
		"anything else of a Gateway":   {&bare, &route, false},
		"a set comes":                  {nil, &set, true},
		"a set without a reference":    {nil, &plain, false},
		"a set goes to a Gateway":      {&set, &moved, true},
		"a policy comes":               {nil, &policy, true},
		"a policy goes":                {&policy, nil, true},
		"a policy that is not read":    {nil, &other, false},
	} {
		t.Run(name, func(t *testing.T) {
			var got bool
			switch {
			case c.old == nil:
				got = p.Create(event.CreateEvent{Object: c.new})
			case c.new == nil:
				got = p.Delete(event.DeleteEvent{Object: c.old})
			default:
				got = p.Update(event.UpdateEvent{ObjectOld: c.old, ObjectNew: c.new})
			}
			if got != c.want {
				t.Errorf("looked at: %v, want %v", got, c.want)
			}
		})
	}
}
