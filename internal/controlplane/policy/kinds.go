// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package policy

import "slices"

// Kind is a kind of policies.
type Kind struct {
	Name string
	// parse reads an object of the kind.
	parse func(object any) *Policy
}

// Kinds are all kinds of policies.
func Kinds() []Kind {
	return []Kind{
		backendTLSKind(),
	}
}

// KindOf returns the kind of policies of that name.
func KindOf(name string) (Kind, bool) {
	all := Kinds()
	i := slices.IndexFunc(all, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return all[i], true
}

// Parse reads an object of the kind, which must not change afterwards.
func (k Kind) Parse(object any) *Policy {
	p := k.parse(object)
	p.id.Kind = k.Name
	return p
}
