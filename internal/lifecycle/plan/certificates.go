// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/lifecycle/rotation"
)

// whileRotating is how often it is looked again while the root changes: what proxies trust is asked, not watched.
const whileRotating = 3 * time.Second

// rotate decides about authorities and roots.
func rotate(m *v1alpha1.Mesh, o Observed, now time.Time) rotation.Result {
	s := o.Rotation
	s.Facts, s.Spread = o.Certificates, o.SpreadRoots
	return rotation.Next(m, s, now)
}

func (d decision) authorities() render.Authorities {
	return render.Authorities{Issuer: d.rotation.Issuer, Trial: d.rotation.Trial, Roots: d.rotation.Roots}
}

// spentSecrets are the Secrets of authorities that nothing needs any more. They hold keys: cert-manager
// leaves them behind.
func (d decision) spentSecrets() []Ref {
	out := make([]Ref, 0, len(d.rotation.Secrets))
	for _, name := range d.rotation.Secrets {
		out = append(out, Ref{
			GroupVersionKind: schema.GroupVersionKind{Version: "v1", Kind: "Secret"},
			NamespacedName:   types.NamespacedName{Namespace: d.seen.Namespace, Name: name},
		})
	}
	return out
}
