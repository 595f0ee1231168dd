// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// Granter finds ReferenceGrants.
type Granter interface {
	// Granted returns ReadGranted of all ReferenceGrants for which GrantedFrom contains it.
	Granted(GrantFrom) Granted
}

// GrantFrom is who refers to objects of a namespace: a kind of Gateway API's group in another.
type GrantFrom struct{ To, Kind, Namespace string }

// Granted is what may be referred to in a namespace. The zero value is nothing.
type Granted struct{ to []grantedTo } // sorted, each once

// grantedTo is an object of the core group; if the name is empty, it is all of the kind.
type grantedTo struct{ kind, name string }

// GrantedFrom are those who may refer to something because of a ReferenceGrant, each once.
func GrantedFrom(g *gwapiv1.ReferenceGrant) []GrantFrom {
	var out []GrantFrom
	for _, f := range g.Spec.From {
		from := GrantFrom{g.Namespace, string(f.Kind), string(f.Namespace)}
		if f.Group == gwapiv1.GroupName && !slices.Contains(out, from) {
			out = append(out, from)
		}
	}
	return out
}

// ReadGranted returns what ReferenceGrants allow, once for all references of the same kind and namespace: both the
// grants and the references may be many.
func ReadGranted(grants []*gwapiv1.ReferenceGrant) Granted {
	var out Granted
	for _, g := range grants {
		for _, t := range g.Spec.To {
			if t.Group == "" {
				out.to = append(out.to, grantedTo{string(t.Kind), string(or(t.Name, ""))})
			}
		}
	}
	slices.SortFunc(out.to, compareGranted)
	out.to = slices.Clip(slices.Compact(out.to))
	return out
}

// Same reports whether both allow the same.
func (g Granted) Same(o Granted) bool { return slices.Equal(g.to, o.to) }

// allows reports whether an object may be referred to.
func (g Granted) allows(kind, name string) bool {
	for _, to := range []grantedTo{{kind, ""}, {kind, name}} {
		if _, ok := slices.BinarySearchFunc(g.to, to, compareGranted); ok {
			return true
		}
	}
	return false
}

func compareGranted(a, b grantedTo) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
}

// grantee is who refers: a kind of Gateway API's group in a namespace.
type grantee struct{ kind, namespace string }

// granted tells whether a ReferenceGrant in the namespace of to lets from refer to it (GEP-709). The
// kind of to is one of the core group.
func granted(l Granter, from grantee, kind string, to model.Key) bool {
	return l.Granted(GrantFrom{to.Namespace, from.kind, from.namespace}).allows(kind, to.Name)
}
