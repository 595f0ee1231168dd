// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// action sends requests of a rule with at least one valid backend on.
func action(r model.Rule, refs refSet) *routev3.RouteAction {
	a := &routev3.RouteAction{
		Timeout:     duration(max(r.Timeout, 0)),
		RetryPolicy: retry(r),
	}
	destinations(a, r, refs)
	if r.Idle != 0 {
		a.IdleTimeout = duration(max(r.Idle, 0))
	}
	if host := mutate(r.RequestHeaders).host; host != "" {
		a.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: host}
	}
	if r.Rewrite != nil {
		rewrite(a, *r.Rewrite)
	}
	for _, m := range r.Mirrors {
		if p := mirror(m, refs); p != nil {
			a.RequestMirrorPolicies = append(a.RequestMirrorPolicies, p)
		}
	}
	if r.Affinity {
		a.HashPolicy = []*routev3.RouteAction_HashPolicy{{
			PolicySpecifier: &routev3.RouteAction_HashPolicy_ConnectionProperties_{
				ConnectionProperties: &routev3.RouteAction_HashPolicy_ConnectionProperties{SourceIp: true},
			},
		}}
	}
	return a
}

// destinations sets where requests go: one cluster, or shares by weight. The share of an invalid
// backend goes to a cluster that never exists, which Envoy answers with the status set here.
func destinations(a *routev3.RouteAction, r model.Rule, refs refSet) {
	var shares []*routev3.WeightedCluster_ClusterWeight
	own := slices.ContainsFunc(r.Backends, modified) // only shares can carry that
	for _, b := range r.Backends {
		if b.Weight == 0 {
			continue
		}
		c := &routev3.WeightedCluster_ClusterWeight{Weight: wrapperspb.UInt32(b.Weight)}
		if b.Invalid {
			c.Name = names.NoBackend
			a.ClusterNotFoundResponseCode = routev3.RouteAction_INTERNAL_SERVER_ERROR
			if brokenStatus(r) == 503 {
				a.ClusterNotFoundResponseCode = routev3.RouteAction_SERVICE_UNAVAILABLE
			}
		} else {
			c.Name = refs.cluster(backendName(b))
			if own {
				setShareHeaders(c, r, b)
			}
		}
		shares = append(shares, c)
	}
	if len(shares) == 1 && !own {
		a.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: shares[0].GetName()}
		return
	}
	a.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: &routev3.WeightedCluster{Clusters: shares}}
}

// million is the finest denominator that Envoy has for fractions.
const million = 1_000_000

// mirror copies a fraction of the requests, with the same Host; nil if the fraction is nothing.
func mirror(m model.Mirror, refs refSet) *routev3.RouteAction_RequestMirrorPolicy {
	if m.Denominator == 0 || m.Numerator == 0 {
		return nil
	}
	parts := min(uint64(m.Numerator)*million/uint64(m.Denominator), million)
	return &routev3.RouteAction_RequestMirrorPolicy{
		Cluster: refs.cluster(clusterName(model.BackendName{Key: m.Backend, As: m.As, Via: m.Via})),
		RuntimeFraction: &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
			Numerator:   uint32(parts),
			Denominator: typev3.FractionalPercent_MILLION,
		}},
		DisableShadowHostSuffixAppend: true,
	}
}
