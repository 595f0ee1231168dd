// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dump

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorded reads the answer of an Envoy 1.40.0 to Path. Its resources came from files, so that they
// are dynamic as in a mesh, and the second version of a listener had an unknown filter.
func recorded(t *testing.T) Config {
	t.Helper()
	body, err := os.ReadFile("testdata/config_dump.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestParse: everything that a table shows is read from a real dump.
func TestParse(t *testing.T) {
	want := Config{
		Clusters: []Cluster{
			{"out/shop/reviews-v1/80", "EDS", "by endpoint", "v-cds"},
			{"std/passthrough", "ORIGINAL_DST", "never", "v-cds"},
			{"xds", "STATIC", "never", ""},
		},
		Listeners: []Listener{
			{"in/shop/web-1", "127.0.0.1:19006", "port 8080, SNI *.mesh.tulle.internal, ALPN h2, tls", "inline: std/passthrough", "v-lds"},
			{"in/shop/web-1", "127.0.0.1:19006", "any", "cluster std/passthrough", "v-lds"},
			{"out/shop/reviews/80", "198.19.0.9:80", "any", "route out/shop/reviews/80", "v-lds"},
		},
		Routes: []Route{
			{"out/shop/reviews/80", "*", "/old/*, header x-a=b, query q~[0-9]+", "redirect https new.example.com", "v-rds"},
			{"out/shop/reviews/80", "*", "/gone", "answer 500", "v-rds"},
			{"out/shop/reviews/80", "*", "~/v[0-9]/.*", "std/passthrough", "v-rds"},
			{"out/shop/reviews/80", "*", "/*", "out/shop/reviews-v1/80 90 %, std/no-backend 10 %", "v-rds"},
		},
		Endpoints: []Endpoint{
			{"out/shop/reviews-v1/80", "198.18.0.7:8080", "HEALTHY", true, 2},
			{"out/shop/reviews-v1/80", "[fd00::7]:8080", "UNHEALTHY", false, 1},
		},
		Rejected: []Rejected{{
			"in/shop/web-1",
			"Didn't find a registered implementation for 'nonsense' with type URL: ''",
		}},
	}
	got := recorded(t)
	for i, e := range got.Endpoints {
		if e.Cluster == "xds" {
			got.Endpoints = got.Endpoints[:i]
			break
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestFilters: a chain that asks for its filter by name leads where that leads, in whatever order Envoy
// tells of them; as long as Envoy has none, nowhere.
func TestFilters(t *testing.T) {
	body, err := os.ReadFile("testdata/streams.json") // of an Envoy 1.40.0
	if err != nil {
		t.Fatal(err)
	}
	for to, body := range map[string][]byte{
		"cluster out/shop/old/80 90 %, out/shop/new/80 10 %": body,
		"-": bytes.ReplaceAll(body, []byte("ecds_filters"), []byte("others")),
	} {
		c, err := Parse(body)
		if err != nil || len(c.Listeners) != 1 || c.Listeners[0].Name != "gw/shop/public/9300" || c.Listeners[0].To != to {
			t.Errorf("%+v, %v; want one to %q", c.Listeners, err, to)
		}
	}
}

// TestMatching: a filter by name applies to every part.
func TestMatching(t *testing.T) {
	got := recorded(t).Matching("reviews")
	if len(got.Clusters) != 1 || len(got.Listeners) != 1 || len(got.Routes) != 4 || len(got.Endpoints) != 2 || len(got.Rejected) != 0 {
		t.Errorf("%+v", got)
	}
	if all := recorded(t); !cmp.Equal(all, all.Matching("")) {
		t.Error("an empty filter drops something")
	}
}

// TestNotADump: anything else than a dump is an error, and a listener that only warms is none.
func TestNotADump(t *testing.T) {
	for _, bad := range []string{"", "404 not found", "{}", `{"configs":[]}`, `{"configs":[{"@type":"x.ClustersConfigDump","dynamic_active_clusters":[{"cluster":{"name":1}}]}]}`} {
		if c, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q was read as %+v", bad, c)
		}
	}
	c, err := Parse([]byte(`{"configs":[{"@type":"x.ListenersConfigDump","dynamic_listeners":[{"name":"a","warming_state":{}}]},{"@type":"x.NewDump"}]}`))
	if err != nil || len(c.Listeners) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestMatcher: a listener whose chains are chosen by a matcher shows their names.
func TestMatcher(t *testing.T) {
	c, err := Parse([]byte(`{"configs":[{"@type":"x.ListenersConfigDump","dynamic_listeners":[{"name":"in/a/p","active_state":{"version_info":"v","listener":{
		"name":"in/a/p","address":{"socket_address":{"address":"0.0.0.0","port_value":15006}},"filter_chain_matcher":{"matcher_tree":{}},
		"filter_chains":[{"name":"mesh-tcp","filters":[{"typed_config":{"cluster":"std/in-tcp"}}]}]}}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Listener{"in/a/p", "0.0.0.0:15006", "chain mesh-tcp", "cluster std/in-tcp", "v"}
	if len(c.Listeners) != 1 || c.Listeners[0] != want {
		t.Errorf("%+v, want %+v", c.Listeners, want)
	}
}

// FuzzParse: no answer makes it panic.
func FuzzParse(f *testing.F) {
	body, err := os.ReadFile("testdata/config_dump.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(strings.ReplaceAll(string(body), `"listener"`, `"nothing"`)))
	f.Add([]byte(`{"configs":[{"@type":"RoutesConfigDump","dynamic_route_configs":[{"route_config":{"virtual_hosts":[{"routes":[{}]}]}}]}]}`))
	f.Fuzz(func(_ *testing.T, body []byte) {
		if c, err := Parse(body); err == nil {
			c.Matching("a")
		}
	})
}
