// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package parts

// OLMVersion is the Operator Lifecycle Manager's.
const OLMVersion = "0.46.0"

// ScorecardVersion is that of operator-sdk, whose tests of bundles it is.
const ScorecardVersion = "1.42.3"

// OLM lists what the Operator Lifecycle Manager (v0) is run with: its two
// operators, what unpacks bundles, what serves catalogs, and what its pods
// call besides.
func OLM() []Part {
	const lifecycle = "github.com/operator-framework/operator-lifecycle-manager/"
	part := func(name, title, pkg string) Part {
		return Part{
			Name: name, Title: title, Dir: "hack/parts/olm", Package: pkg,
			// Without these tags, libraries that need C are built in.
			Tags: "json1,containers_image_openpgp",
		}
	}
	return []Part{
		part("olm", "OLM "+OLMVersion, lifecycle+"cmd/olm"),
		part("catalog", "OLM's catalog operator", lifecycle+"cmd/catalog"),
		part("cpb", "OLM's copier of bundles", lifecycle+"util/cpb"),
		part("opm", "the server of catalogs", "github.com/operator-framework/operator-registry/cmd/opm"),
		part("olm-tools", "what OLM's pods call", "."),
	}
}

// Scorecard runs operator-sdk's tests of bundles.
func Scorecard() Part {
	return Part{
		Name: "scorecard-test", Title: "scorecard " + ScorecardVersion, Dir: "hack/parts/scorecard",
		Package: "github.com/operator-framework/operator-sdk/images/scorecard-test", Tags: "containers_image_openpgp",
	}
}
