// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Reference writes docs/reference/gateway-api.md: each feature of the Gateway
// API, since which release it works, the conformance tests that prove it and
// how it becomes Envoy configuration.
package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/pkg/consts"
	"sigs.k8s.io/gateway-api/pkg/features"

	"tulle.dev/tulle/internal/lifecycle/release"
)

func main() {
	write(os.Stdout, release.Known("", ""))
}

func write(w io.Writer, releases []release.Release) {
	fmt.Fprintf(w, `<!-- Written by "make reference": do not edit. -->
# Features of the Gateway API

Tulle is made for Gateway API %s, experimental channel. A GatewayClass and an XMesh tell in
`+"`status.supportedFeatures`"+` what the release that serves can do; this table tells it for all releases.
A feature is listed once the conformance tests that need it pass (`+"`make conformance`"+`).

| Feature | Channel | Works since | Conformance tests | How it becomes Envoy configuration |
|---|---|---|---|---|
`, consts.BundleVersion)
	text := how()
	for _, f := range sorted() {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", f.Name, f.Channel, since(releases, string(f.Name)), proof(f.Name), text[string(f.Name)])
	}
}

func sorted() []features.Feature {
	all := features.AllFeatures.UnsortedList()
	slices.SortFunc(all, func(a, b features.Feature) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all
}

// since is the earliest release that has a feature, for Gateways or for the mesh.
func since(releases []release.Release, feature string) string {
	for _, r := range releases {
		if slices.Contains(r.GatewayFeatures, feature) || slices.Contains(r.MeshFeatures, feature) {
			return r.Version
		}
	}
	return "not yet"
}

// proof names the tests that need a feature, or says how many where there are
// more than can be read.
func proof(feature features.FeatureName) string {
	var names []string
	for _, t := range tests.ConformanceTests {
		if slices.Contains(t.Features, feature) {
			names = append(names, t.ShortName)
		}
	}
	slices.Sort(names)
	switch n := len(names); {
	case n == 0 && tested()[string(feature)] != "":
		return "none in the suite; here " + tested()[string(feature)]
	case n == 0:
		return "none in the suite"
	case n > 20:
		return fmt.Sprintf("%d tests", n)
	}
	return strings.Join(names, ", ")
}
