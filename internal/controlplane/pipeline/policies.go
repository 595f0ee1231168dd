// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"
	"slices"
	"strings"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
)

// policies is what is read once of all policies with the same target, and of all ReferenceGrants for the same
// references: they may be many, and so may the ports, routes and other policies that need it.
type policies struct {
	first   *incr.Collection[policyOn, *policy.Policy]
	granted *incr.Collection[gatewayapi.GrantFrom, gatewayapi.Granted]
	senders *incr.Collection[model.Key, []model.Key] // Gateways that send to a Service with a policy
}

// policyOn is a target for policies of a kind.
type policyOn struct {
	kind string
	policy.Target
}

func (g *Graph) buildFirstPolicies() {
	g.policies.first = incr.DeriveKeys(&g.engine, "first policies", func(a, b *policy.Policy) bool { return a == b },
		func(r *incr.Reader, on ofObject, emit func(policyOn, *policy.Policy)) {
			for section, p := range policy.ReadFirst(g.lookup(r), on) {
				emit(policyOn{on.Kind, policy.Target{Object: on.To, Section: section}}, p)
			}
		}, g.ix.policiesByTarget)
}

func (g *Graph) buildGranted() {
	g.policies.granted = incr.DeriveKeys(&g.engine, "granted", gatewayapi.Granted.Same,
		func(r *incr.Reader, from gatewayapi.GrantFrom, emit func(gatewayapi.GrantFrom, gatewayapi.Granted)) {
			emit(from, gatewayapi.ReadGranted(bucket(r, g.ix.grantsByFrom, from)))
		}, g.ix.grantsByFrom)
}

func (g *Graph) buildSendingGateways() {
	targets := incr.NewIndex(g.policies.first, byPolicyTarget, func(on policyOn, _ *policy.Policy) []model.Key {
		if on.Object.Kind != gatewayapi.KindService {
			return nil
		}
		return []model.Key{{Namespace: on.Object.Namespace, Name: on.Object.Name}}
	})
	g.policies.senders = incr.DeriveKeys(&g.engine, "sending gateways", slices.Equal[[]model.Key],
		func(r *incr.Reader, k model.Key, emit func(model.Key, []model.Key)) {
			svc, _ := incr.Get(r, g.in.services, k)
			emit(k, gatewayapi.SendingGateways(g.lookup(r), svc))
		}, targets)
}

func byPolicyTarget(a, b policyOn) int {
	return cmp.Or(strings.Compare(a.kind, b.kind), byObject(a.Object, b.Object), strings.Compare(a.Section, b.Section))
}
