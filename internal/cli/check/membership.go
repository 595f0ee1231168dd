// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import (
	"fmt"
	"maps"
	"slices"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/names"
)

// leftInMesh finds pods that have a proxy although neither they nor their namespace ask for one any more.
// They work as before; pods that replace them will have no proxy, and the mesh refuses those in Strict.
func leftInMesh(f facts.Facts) []Finding {
	if _, missed := f.Missed(facts.UnreadNamespaces); missed {
		return nil // reported by podSecurity
	}
	asks := map[string]bool{}
	for _, n := range f.Namespaces {
		asks[n.Name] = true
	}
	left := map[string]int{}
	for _, p := range f.Proxies {
		if p.Kind == names.KindSidecar && !p.Asks && !asks[p.Namespace] {
			left[p.Namespace]++
		}
	}
	var out []Finding
	for _, ns := range slices.Sorted(maps.Keys(left)) {
		out = append(out, found(SectionInjection, Warning,
			fmt.Sprintf("namespace %s does not ask for proxies, but %s: they stay in the mesh until they are replaced, and their successors will have no proxy",
				ns, count(left[ns], "pod there has one", "pods there have one")),
			"label the namespace "+names.LabelInject+"="+names.InjectEnabled+" to keep it in the mesh, or restart the workloads to take it out")...)
	}
	return out
}
