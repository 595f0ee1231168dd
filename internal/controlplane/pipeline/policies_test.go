// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"runtime"
	"testing"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
)

// policy is a BackendTLSPolicy for the Service, or for a port of it.
func (t tenant) policy(n int, generation int64, section string) source.Event {
	k, system := t.key("p", n), gwapiv1.WellKnownCACertificatesSystem
	ref := gwapiv1.LocalPolicyTargetReferenceWithSectionName{LocalPolicyTargetReference: gwapiv1.LocalPolicyTargetReference{Kind: "Service", Name: "web"}}
	if section != "" {
		name := gwapiv1.SectionName(section)
		ref.SectionName = &name
	}
	return source.Event{Kind: "BackendTLSPolicy", Key: k, Object: &gwapiv1.BackendTLSPolicy{ObjectMeta: t.meta(k, generation), Spec: gwapiv1.BackendTLSPolicySpec{
		TargetRefs: []gwapiv1.LocalPolicyTargetReferenceWithSectionName{ref},
		Validation: gwapiv1.BackendTLSPolicyValidation{Hostname: gwapiv1.PreciseHostname(fmt.Sprintf("v%d.example.com", generation)), WellKnownCACertificates: &system},
	}}}
}

// grant lets routes of another namespace refer to the Service and to another.
func (t tenant) grant(n int, generation int64) source.Event {
	k, web, other := t.key("g", n), gwapiv1.ObjectName("web"), gwapiv1.ObjectName(fmt.Sprintf("other-%d-%d", n, generation))
	return source.Event{Kind: source.ReferenceGrant, Key: k, Object: &gwapiv1.ReferenceGrant{ObjectMeta: t.meta(k, generation), Spec: gwapiv1.ReferenceGrantSpec{
		From: []gwapiv1.ReferenceGrantFrom{{Group: gwapiv1.GroupName, Kind: "HTTPRoute", Namespace: "abroad"}},
		To:   []gwapiv1.ReferenceGrantTo{{Kind: "Service", Name: &web}, {Kind: "Service", Name: &other}},
	}}}
}

// abroad is a route on the Gateway in another namespace.
func (t tenant) abroad(n int, generation int64) source.Event {
	e := t.http(model.Key{Namespace: "abroad", Name: t.key("r", n).Name}, generation, 4)
	e.Object.(*gwapiv1.HTTPRoute).Spec.ParentRefs = []gwapiv1.ParentReference{{Name: "gw"}}
	return e
}

func (t tenant) gateway() source.Event {
	k := model.Key{Namespace: "abroad", Name: "gw"}
	return source.Event{Kind: source.Gateway, Key: k, Object: &gwapiv1.Gateway{ObjectMeta: t.meta(k, 1), Spec: gwapiv1.GatewaySpec{
		GatewayClassName: "tulle", Listeners: []gwapiv1.Listener{{Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType}},
	}}}
}

// TestManyPoliciesOfAService: with four times as many BackendTLSPolicies on a Service, on its ports or on all of it, and
// as many routes that send to it, a change of one of either allocates in proportion. The same is true of ReferenceGrants.
func TestManyPoliciesOfAService(t *testing.T) {
	var a tenant
	for _, c := range []struct {
		name   string
		events func(n int) []source.Event
		change source.Event
	}{
		{
			name: "a policy for a port each",
			events: func(n int) []source.Event {
				return append(many(n, func(i int) source.Event { return a.policy(i, 1, fmt.Sprintf("p-%d", i)) }), a.service(n, false))
			},
			change: a.policy(3, 2, "p-3"),
		},
		{
			name: "policies for the same Service",
			events: func(n int) []source.Event {
				return append(many(n, func(i int) source.Event { return a.policy(i, 1, "") }), a.service(1, false))
			},
			change: a.policy(0, 2, ""),
		},
		{
			name: "policies, and routes that send to the Service",
			events: func(n int) []source.Event {
				routes := many(n, func(i int) source.Event { return a.http(a.key("r", i), 1, 4) })
				return append(append(many(n, func(i int) source.Event { return a.policy(i, 1, "") }), routes...), a.service(1, false))
			},
			change: a.http(a.key("r", 3), 2, 4),
		},
		{
			name: "ReferenceGrants, and routes of another namespace",
			events: func(n int) []source.Event {
				routes := many(n, func(i int) source.Event { return a.abroad(i, 1) })
				return append(append(many(n, func(i int) source.Event { return a.grant(i, 1) }), routes...), a.service(1, true), a.gateway(), class())
			},
			change: a.grant(3, 2),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			measure := func(n int) uint64 {
				g := New(nil)
				g.Apply(append(c.events(n), source.Event{Kind: source.Namespace, Key: model.Key{Name: "tenant"}, Object: model.Namespace{Name: "tenant", Meshed: true}}), testSettings())
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				r := g.Apply([]source.Event{c.change}, Inputs{})
				runtime.ReadMemStats(&after)
				allocated := after.TotalAlloc - before.TotalAlloc
				t.Logf("%d: %d functions, %d KiB allocated, %d resources published", n, g.engine.TotalEvals(), allocated>>10, len(r.Resources))
				if g.engine.TotalEvals() == 0 || len(g.Failures()) > 0 {
					t.Errorf("%d functions, failures: %v", g.engine.TotalEvals(), g.Failures())
				}
				return allocated
			}
			if few, lot := measure(100), measure(400); lot > 8*few { // the square would be 16 times as many
				t.Errorf("%d bytes are allocated with 400, %d with 100", lot, few)
			}
		})
	}
}
