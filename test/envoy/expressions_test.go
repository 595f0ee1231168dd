// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"os"
	"strings"
	"testing"
	"unicode"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
)

// TestExpressions asks the real Envoy, and the one of the release before, about regular expressions that
// routes are accepted with: one that it refuses would take all of its table with it. What is refused for
// Envoy's sake alone it does refuse.
func TestExpressions(t *testing.T) {
	text, err := os.ReadFile("../../internal/controlplane/gatewayapi/regexdata/expressions.txt")
	if err != nil {
		t.Fatal(err)
	}
	var good, bad []string
	refused := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		switch line = strings.TrimSuffix(line, "\n"); line[:1] {
		case "+":
			good = append(good, line[1:])
		case "!":
			bad = append(bad, line[1:])
		case "-":
			refused[line[1:]] = true
		}
	}
	for name := range unicode.Scripts {
		if e := `\p{` + name + `}`; !refused[e] { // scripts that this Go has, and that an older RE2 may not have
			good = append(good, e)
		}
	}
	for name := range unicode.Categories {
		if name != "Cn" && name != "LC" { // among the bad ones
			good = append(good, `\p{`+name+`}`)
		}
	}
	if len(good) < 150 || len(bad) < 5 {
		t.Fatalf("only %d and %d expressions found", len(good), len(bad))
	}
	pki := newAuthority(t)
	table := func(expressions ...string) []byte {
		v := model.VirtualHost{Domains: []string{"*"}}
		for _, e := range expressions {
			v.Rules = append(v.Rules, model.Rule{Match: model.Match{
				Path:    model.PathMatch{Kind: model.PathRegex, Value: e},
				Headers: []model.ValueMatch{{Name: "x", Value: e, Regex: true}}, Query: []model.ValueMatch{{Name: "x", Value: e, Regex: true}},
			}})
		}
		return newStatic([]envoy.Resource{
			envoy.Routes(model.RouteTable{Name: "gw/shop/edge/80", Hosts: []model.VirtualHost{v}}),
			envoy.GatewayListener(model.GatewayPort{
				Gateway: model.Key{Namespace: "shop", Name: "edge"}, Port: 80, Sections: []model.GatewaySection{{Table: "gw/shop/edge/80"}},
			}),
		}).bootstrap(t, pki)
	}
	for name, bin := range map[string]string{"current": binary(t), "before": before(t)} {
		if out, err := validate(t, bin, table(good...)); err != nil {
			t.Errorf("%s refuses what routes are accepted with: %v\n%s", name, err, out)
		}
	}
	for _, e := range bad {
		if out, err := validate(t, binary(t), table(e)); err == nil {
			t.Errorf("Envoy takes %s: why not accept it? %s", e, out)
		}
	}
}
