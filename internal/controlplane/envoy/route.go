// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"maps"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// Routes makes a RouteConfiguration. Rules are tried in the order of the model; a request that none
// matches gets 404.
func Routes(t model.RouteTable) Resource {
	refs := refSet{}
	rc := routeConfiguration(t.Name)
	taken := map[string]bool{}
	for _, h := range t.Hosts {
		domains := free(h.Domains, taken)
		if len(domains) == 0 {
			continue
		}
		vh := virtualHost(domains, names.IsGatewayTable(t.Name))
		if h.Misdirected {
			vh.Routes = []*routev3.Route{elsewhere()}
		}
		for _, r := range h.Rules {
			vh.Routes = append(vh.Routes, rule(r, refs)...)
		}
		rc.VirtualHosts = append(rc.VirtualHosts, vh)
	}
	return routes(rc, refs)
}

func routeConfiguration(name string) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{
		Name: name,
		// A host name matches whatever port the client wrote after it (Gateway API, Hostname).
		IgnorePortInHostMatching: true,
		// The word of the server's proxy to this one; not for the client.
		ResponseHeadersToRemove: []string{unreached},
		// A share whose backend is invalid names a cluster that never exists.
		ValidateClusters: wrapperspb.Bool(false),
	}
}

func virtualHost(domains []string, edge bool) *routev3.VirtualHost {
	return &routev3.VirtualHost{
		Name: strings.Join(domains, ","), Domains: domains, RetryPolicy: defaultRetry(), RequestBodyBufferLimit: keptForRetries(edge),
	}
}

// free returns the domains that no earlier virtual host has, and takes them: Envoy would reject the
// whole table for a domain that stands twice.
func free(domains []string, taken map[string]bool) []string {
	var out []string
	for _, d := range domains {
		if d = strings.ToLower(d); d != "" && !taken[d] {
			taken[d] = true
			out = append(out, d)
		}
	}
	return out
}

// rule makes the routes of a rule. One that breaks a constraint of Envoy's API would take the whole
// table with it; it answers with an error instead, if its match can be said at all.
func rule(r model.Rule, refs refSet) []*routev3.Route {
	own := refSet{}
	made := translate(r, own)
	for _, route := range made {
		if route.ValidateAll() != nil {
			return broken(r)
		}
	}
	maps.Copy(refs, own)
	return made
}

func broken(r model.Rule) []*routev3.Route {
	route := direct(r)
	if route.ValidateAll() != nil {
		return nil // what can't be matched matches nothing
	}
	return []*routev3.Route{route}
}

// direct is a route that is answered here, with the status of invalid backends.
func direct(r model.Rule) *routev3.Route {
	return &routev3.Route{
		Name:   ruleName(r),
		Match:  routeMatch(r.Match),
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: brokenStatus(r)}},
	}
}

// elsewhere answers 421 Misdirected Request (RFC 9110, 15.5.20).
func elsewhere() *routev3.Route {
	return &routev3.Route{
		Name:   "misdirected",
		Match:  anyPath(),
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 421}},
	}
}

// translate makes one route, or two where a redirection's port depends on whether the client wrote one, or
// one for each backend where their rewrites differ.
func translate(r model.Rule, refs refSet) []*routev3.Route {
	route := &routev3.Route{Name: ruleName(r), Match: routeMatch(r.Match)}
	switch {
	case r.Redirect != nil:
		setHeaders(route, model.HeaderMods{}, r.ResponseHeaders)
		return redirect(route, *r.Redirect)
	case !anyValid(r.Backends):
		route = direct(r)
		setHeaders(route, model.HeaderMods{}, r.ResponseHeaders)
		return []*routev3.Route{route}
	}
	var out []*routev3.Route
	for _, s := range sharesOf(r) {
		out = append(out, shareRoute(s, refs))
	}
	return out
}

// ruleName names a route after what it came from: KIND/NAMESPACE/NAME[/RULE].
func ruleName(r model.Rule) string {
	if r.Source == (model.Object{}) {
		return r.Name
	}
	name := r.Source.Kind + "/" + r.Source.Namespace + "/" + r.Source.Name
	if r.Name != "" {
		name += "/" + r.Name
	}
	return name
}

func anyValid(backends []model.WeightedBackend) bool {
	for _, b := range backends {
		if b.Weight > 0 && !b.Invalid {
			return true
		}
	}
	return false
}

// brokenStatus answers where backends are invalid: 500, by HTTPRoute's backendRefs. For GRPCRoute
// the answer is gRPC's UNAVAILABLE, which Envoy makes of 503.
func brokenStatus(r model.Rule) uint32 {
	if r.Match.GRPC {
		return 503
	}
	return 500
}
