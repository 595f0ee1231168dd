// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"cmp"
	"slices"
)

// refSet collects what a resource names. The zero value is not usable; make it with refSet{}.
type refSet map[Ref]struct{}

func (s refSet) cluster(name string) string {
	s[Ref{ClusterType, name}] = struct{}{}
	return name
}

func (s refSet) routes(name string) string {
	s[Ref{RoutesType, name}] = struct{}{}
	return name
}

func (s refSet) extension(name string) string {
	s[Ref{ExtensionType, name}] = struct{}{}
	return name
}

func (s refSet) sorted() []Ref {
	if len(s) == 0 {
		return nil
	}
	refs := make([]Ref, 0, len(s))
	for r := range s {
		refs = append(refs, r)
	}
	slices.SortFunc(refs, func(a, b Ref) int {
		return cmp.Or(cmp.Compare(a.TypeURL, b.TypeURL), cmp.Compare(a.Name, b.Name))
	})
	return refs
}
