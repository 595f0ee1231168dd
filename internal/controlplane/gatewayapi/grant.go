// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// grantee is who refers: a kind of Gateway API's group in a namespace.
type grantee struct{ kind, namespace string }

// granted tells whether a ReferenceGrant in the namespace of to lets from refer to it (GEP-709). The
// kind of to is one of the core group.
func granted(l Granter, from grantee, kind string, to model.Key) bool {
	for _, g := range l.Grants(to.Namespace) {
		if allowsFrom(g.Spec.From, from) && allowsTo(g.Spec.To, kind, to.Name) {
			return true
		}
	}
	return false
}

func allowsFrom(fs []gwapiv1.ReferenceGrantFrom, from grantee) bool {
	for _, f := range fs {
		if f.Group == gwapiv1.GroupName && string(f.Kind) == from.kind && string(f.Namespace) == from.namespace {
			return true
		}
	}
	return false
}

func allowsTo(ts []gwapiv1.ReferenceGrantTo, kind, name string) bool {
	for _, t := range ts {
		if t.Group == "" && string(t.Kind) == kind && (t.Name == nil || *t.Name == "" || string(*t.Name) == name) {
			return true
		}
	}
	return false
}
