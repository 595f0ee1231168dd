// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy_test

import (
	"testing"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/virtualhost"
)

// TestRevisionOfPaths: tables that the release before says otherwise, for the same model, are of
// another revision, and no other is: the recorded cases of that release have no such paths.
func TestRevisionOfPaths(t *testing.T) {
	for _, c := range []struct {
		path     model.PathMatch
		revision string
	}{
		{model.PathMatch{}, "1"},
		{model.PathMatch{Kind: model.PathPrefix, Value: "/a"}, "1"},
		{model.PathMatch{Kind: model.PathExact, Value: "/100%25"}, "1"},
		{model.PathMatch{Kind: model.PathExact, Value: "/%zz%a"}, "1"},
		{model.PathMatch{Kind: model.PathRegex, Value: "/%[0-9]"}, "1"},
		{model.PathMatch{Kind: model.PathExact, Value: "/%C3"}, "2"},
		{model.PathMatch{Kind: model.PathPrefix, Value: "/x/%5b/"}, "2"},
	} {
		table := envoy.Routes(model.RouteTable{Name: "out/shop/web/80", Hosts: []model.VirtualHost{
			{Domains: []string{"a.example"}, Rules: []model.Rule{{}}},
			{Domains: []string{"*"}, Rules: []model.Rule{{}, {Match: model.Match{Path: c.path}}}},
		}})
		part := envoy.RoutePart(model.RoutePart{Part: virtualhost.Part[model.Rule]{Rules: []virtualhost.Rule[model.Rule]{{Rule: model.Rule{Match: model.Match{Path: c.path}}}}}})
		for _, r := range []envoy.Resource{table, part} {
			if got := r.Revision(); got != c.revision {
				t.Errorf("%s with %+v is of revision %s, want %s", r.TypeURL, c.path, got, c.revision)
			}
		}
	}
}
