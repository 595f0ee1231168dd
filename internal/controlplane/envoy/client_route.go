// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// ClientRoutes makes a RouteConfiguration for programs that route by themselves (gRFC A28). They choose
// backends by path and headers, and set deadlines and retries; they change nothing of a call and copy
// none. Calls of a rule that wants that fail with UNAVAILABLE rather than go without it. A rule that no
// call of gRPC can match is left out.
func ClientRoutes(t model.RouteTable) Resource {
	refs := refSet{}
	rc := &routev3.RouteConfiguration{Name: names.Client(t.Name)}
	taken := map[string]bool{}
	for _, h := range t.Hosts {
		domains := free(h.Domains, taken)
		if len(domains) == 0 {
			continue
		}
		vh := &routev3.VirtualHost{Name: strings.Join(domains, ","), Domains: domains}
		for _, r := range h.Rules {
			if route := clientRule(r, refs); route != nil {
				vh.Routes = append(vh.Routes, route)
			}
		}
		rc.VirtualHosts = append(rc.VirtualHosts, vh)
	}
	return routes(rc, refs)
}

// clientRule makes the route of a rule; nil if nothing can match it.
func clientRule(r model.Rule, refs refSet) *routev3.Route {
	match, ok := clientMatch(r.Match)
	if !ok {
		return nil
	}
	route := &routev3.Route{Name: ruleName(r), Match: match}
	if anyValid(r.Backends) && !beyondClients(r) {
		own := refSet{}
		route.Action = &routev3.Route_Route{Route: clientAction(r, own)}
		if route.ValidateAll() == nil {
			maps.Copy(refs, own)
			return route
		}
	}
	// No library has this action, and each fails the calls of a route with one that it does not have.
	route.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 503}}
	if route.ValidateAll() != nil {
		return nil
	}
	return route
}

// beyondClients tells whether a rule wants what no gRPC library does.
func beyondClients(r model.Rule) bool {
	foreign := func(b model.WeightedBackend) bool { return modified(b) || b.Rewrite != nil || b.Via.TLS } // TLS that is not the mesh's
	return r.Redirect != nil || r.Rewrite != nil || len(r.Mirrors) > 0 ||
		modify(r.RequestHeaders, r.ResponseHeaders) || slices.ContainsFunc(r.Backends, foreign) ||
		r.Retry != nil && r.BackendTimeout > 0 // there are no timeouts of single attempts
}

// clientMatch is routeMatch in the words that gRPC knows. ok is false if no call matches: calls are POSTs
// without a query, and one bad expression would have the whole table refused.
func clientMatch(m model.Match) (rm *routev3.RouteMatch, ok bool) {
	if m.Method != "" && m.Method != "POST" || len(m.Query) > 0 {
		return nil, false
	}
	rm = pathMatch(m.Path)
	if p, is := rm.GetPathSpecifier().(*routev3.RouteMatch_PathSeparatedPrefix); is {
		rm = belowPath(p.PathSeparatedPrefix)
	}
	patterns := []string{rm.GetSafeRegex().GetRegex()}
	for _, h := range m.Headers {
		name := headerName(h.Name)
		if special(name) {
			return nil, false // a program has no such headers
		}
		if h.Regex {
			patterns = append(patterns, h.Value)
		}
		rm.Headers = append(rm.Headers, headerMatch(name, valueMatch(h)))
	}
	for _, p := range patterns {
		if _, err := regexp.Compile(p); err != nil {
			return nil, false
		}
	}
	return rm, true
}

func clientAction(r model.Rule, refs refSet) *routev3.RouteAction {
	a := &routev3.RouteAction{RetryPolicy: clientRetry(r.Retry)}
	if d := clientTimeout(r); d > 0 {
		a.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{MaxStreamDuration: duration(d)}
	}
	var shares []*routev3.WeightedCluster_ClusterWeight
	for _, b := range r.Backends {
		if b.Weight == 0 {
			continue
		}
		name := names.ClientNoBackend
		if !b.Invalid {
			name = names.Client(backendName(b))
		}
		shares = append(shares, &routev3.WeightedCluster_ClusterWeight{Name: refs.cluster(name), Weight: wrapperspb.UInt32(b.Weight)})
	}
	if len(shares) == 1 {
		a.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: shares[0].GetName()}
	} else {
		a.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: &routev3.WeightedCluster{Clusters: shares}}
	}
	if r.Affinity {
		// A program does not know its address as others see it. All calls of one channel go the same way.
		a.HashPolicy = []*routev3.RouteAction_HashPolicy{{
			PolicySpecifier: &routev3.RouteAction_HashPolicy_FilterState_{
				FilterState: &routev3.RouteAction_HashPolicy_FilterState{Key: "io.grpc.channel_id"},
			},
		}}
	}
	return a
}

// clientTimeout is how long a call may take in all; 0 is for ever. With one attempt, its time is the call's.
func clientTimeout(r model.Rule) time.Duration {
	switch request, attempt := max(r.Timeout, 0), max(r.BackendTimeout, 0); {
	case request == 0:
		return attempt
	case attempt == 0:
		return request
	default:
		return min(request, attempt)
	}
}

// clientRetry translates a rule's retries. A call never has a status of HTTP: those that a server or a
// proxy answers with instead reach the program as UNAVAILABLE (gRPC's table of HTTP statuses), or as one
// that is not retried.
func clientRetry(r *model.Retry) *routev3.RetryPolicy {
	unavailable := func(code uint32) bool { return code == 429 || code >= 502 && code <= 504 }
	if r == nil || r.Attempts == 0 || !slices.ContainsFunc(r.Codes, unavailable) {
		return nil
	}
	p := &routev3.RetryPolicy{RetryOn: "unavailable", NumRetries: wrapperspb.UInt32(r.Attempts)}
	if r.Backoff > 0 {
		p.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{BaseInterval: duration(max(r.Backoff, time.Millisecond))}
	}
	return p
}
