// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rules

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "tulle.dev/tulle/"

// rule is about packages whose path below the module begins with one of of.
type rule struct {
	of []string
	// never are prefixes of packages that these must not depend on, directly or through others.
	never []string
	// only, if set, are the prefixes of all packages outside the standard library that they may depend on.
	only []string
	why  string
}

const (
	std    = "std" // the standard library, in only
	kube   = "k8s.io/"
	client = "k8s.io/client-go/"
	runtim = "sigs.k8s.io/controller-runtime"
	protos = "github.com/envoyproxy/"
	grpc   = "google.golang.org/grpc"
)

var rules = []rule{
	{
		of: []string{"api"}, never: []string{module + "internal", client, runtim},
		why: "who uses Tulle's API must not get its insides or a client with it",
	},
	{
		of: []string{"internal/controlplane/incr", "internal/controlplane/model", "internal/controlplane/schedule", "internal/names", "internal/protocol", "internal/virtualhost"}, only: []string{std},
		why: "what everybody stands on stands on nothing",
	},
	{
		of: []string{"cmd/tulle-slot"}, only: []string{std, module + "internal/names", module + "internal/protocol", module + "internal/virtualhost", module + "internal/dataplane/slot", module + "cmd/tulle-slot"},
		why: "the standby is a few megabytes",
	},
	{
		of: []string{"internal/controlplane/gatewayapi"}, never: []string{client, runtim, protos, grpc, module + "internal/controlplane/source"},
		why: "translation is pure",
	},
	{
		of: []string{"internal/controlplane/policy"}, never: []string{client, runtim, protos, grpc, module + "internal/controlplane/source"},
		why: "so is what policies mean",
	},
	{
		of: []string{"internal/controlplane/envoy"}, never: []string{kube, "sigs.k8s.io/", module + "internal/controlplane/gatewayapi"},
		why: "Envoy's configuration is made of the model, not of Kubernetes objects",
	},
	{
		of: []string{"internal/controlplane/xds"}, never: []string{kube, "sigs.k8s.io/", module + "internal/controlplane/model"},
		why: "the server knows names, versions and bytes, and nothing of their meaning",
	},
	{
		of: []string{"internal/controlplane/rights"}, only: []string{std, module + "internal/names", module + "internal/controlplane/rights"},
		why: "a right follows from identity and name alone",
	},
	{
		of: []string{"controllers", "internal/lifecycle"}, never: []string{module + "internal/controlplane", module + "internal/dataplane", protos},
		why: "the operator shares only names, protocol, slots and the API with the other halves",
	},
	{
		of: []string{"internal/controlplane"}, never: []string{module + "internal/lifecycle", module + "internal/dataplane", module + "controllers"},
		why: "so does the control plane",
	},
	{
		of: []string{"internal/dataplane", "cmd/tulle-proxy"}, never: []string{module + "internal/lifecycle", module + "internal/controlplane", module + "controllers", kube, protos},
		why: "and the data plane, which also must stay small",
	},
	{
		of: []string{"api", "cmd", "controllers", "internal/cli", "internal/controlplane", "internal/dataplane", "internal/lifecycle"}, never: []string{module + "test", module + "internal/testing"},
		why: "tests, and the faults that they use, are no part of the product",
	},
	{
		of: []string{"internal/gatewayspec"}, never: []string{client, runtim, module + "internal/controlplane", module + "internal/lifecycle", module + "internal/dataplane"},
		why: "operator and control plane judge a Gateway's spec alike, from the spec alone",
	},
	{
		of: []string{"internal/gatewaykinds"}, never: []string{client, runtim, module + "internal"},
		why: "operator, control plane and CLI read a kind alike, each with its own client",
	},
}

// pure packages must not see the clock, chance or the machine: not even by a direct import.
var pure = []string{
	"internal/controlplane/incr", "internal/controlplane/model", "internal/controlplane/gatewayapi", "internal/controlplane/envoy",
	"internal/controlplane/rights", "internal/controlplane/pipeline", "internal/controlplane/policy", "internal/gatewaykinds", "internal/lifecycle/plan", "internal/lifecycle/render", "internal/lifecycle/health", "internal/lifecycle/shadow",
	"internal/lifecycle/scale", "internal/lifecycle/missing", "internal/slots", "internal/gatewayspec",
}

var impure = []string{"os", "os/exec", "math/rand", "math/rand/v2", "crypto/rand", "net", "net/http", "io/ioutil"}

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath    string
	Standard      bool
	Imports, Deps []string
}

func list(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	pkgs := map[string]pkg{}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs[p.ImportPath] = p
	}
}

// in tells whether a path is below one of the prefixes.
func in(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		return path == p || strings.HasPrefix(path, strings.TrimSuffix(p, "/")+"/")
	})
}

func below(prefixes []string) []string {
	var out []string
	for _, p := range prefixes {
		out = append(out, module+p)
	}
	return out
}

// broken returns what a rule has against the packages, as "A depends on B".
func broken(r rule, pkgs map[string]pkg) (found []string, looked int) {
	for path, p := range pkgs {
		if !in(path, below(r.of)) {
			continue
		}
		looked++
		for _, d := range p.Deps {
			foreign := len(r.only) > 0 && !pkgs[d].Standard && !in(d, r.only) && !in(d, below(r.of))
			if in(d, r.never) || foreign {
				found = append(found, path+" depends on "+d)
			}
		}
	}
	slices.Sort(found)
	return found, looked
}

// TestImports checks every rule, and that every rule is about something.
func TestImports(t *testing.T) {
	pkgs := list(t)
	for _, r := range rules {
		found, looked := broken(r, pkgs)
		if looked == 0 {
			t.Errorf("the rule on %v is about no package", r.of)
		}
		for _, f := range found {
			t.Errorf("%s, but %s", f, r.why)
		}
	}
	for _, p := range below(pure) {
		if _, ok := pkgs[p]; !ok {
			t.Errorf("the list of pure packages names %s, which is not there", p)
		}
		for _, d := range pkgs[p].Imports {
			if slices.Contains(impure, d) {
				t.Errorf("%s is pure and imports %s", p, d)
			}
		}
	}
}

// TestRulesCatch feeds each kind of breach to the check.
func TestRulesCatch(t *testing.T) {
	pkgs := map[string]pkg{
		"os":                                    {Standard: true},
		module + "internal/controlplane/incr":   {Deps: []string{"os", "example.org/x"}},
		module + "internal/controlplane/xds":    {Deps: []string{module + "internal/controlplane/model"}},
		module + "internal/controlplane/model":  {Deps: []string{"os"}},
		module + "internal/controlplane/modelx": {Deps: []string{"example.org/x"}},
	}
	if f, _ := broken(rules[1], pkgs); len(f) != 1 || !strings.HasSuffix(f[0], "incr depends on example.org/x") {
		t.Errorf("found %v", f)
	}
	if f, _ := broken(rules[6], pkgs); len(f) != 1 {
		t.Errorf("found %v", f)
	}
}
