// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/lifecycle/rotation"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
)

// rotate decides about authorities and roots.
func rotate(m *v1alpha1.Mesh, o Observed, now time.Time) rotation.Result {
	s := o.Rotation
	s.Facts, s.Spread = o.Certificates, o.SpreadRoots
	return rotation.Next(m, s, now)
}

// trust is what the ConfigMap of the system namespace is to have.
func (d decision) trust() render.Object {
	a := d.rotation.Anchors
	return render.Trust(d.mesh.Name, d.seen.Namespace, render.TrustData{
		Roots: d.roots, Intermediates: a.Intermediates, Recorded: a.Recorded, Signers: a.Signers,
	})
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

// trustEvents report once when chains must pass through intermediates from now on, and when the issuer
// begins to be one that others may use.
func (d decision) trustEvents() []upgrade.Event {
	var out []upgrade.Event
	if v := d.judgeIntermediates(); d.mesh.Status.IntermediatesRequiredSince == nil && v.Good {
		out = append(out, upgrade.Event{Reason: v1alpha1.ConditionIntermediatesRequired, Message: v.Message})
	}
	was := meta.FindStatusCondition(d.mesh.Status.Conditions, v1alpha1.ConditionCertificatesReady)
	if is := d.certs.Verdict; is.Reason == v1alpha1.ReasonIssuedBySharedIssuer && (was == nil || was.Reason != is.Reason) {
		out = append(out, upgrade.Event{Reason: is.Reason, Message: is.Message, Warning: true})
	}
	return out
}

// rotationEvents tell once when a change of the root gets to another phase.
func (d decision) rotationEvents() []upgrade.Event {
	was, is := d.mesh.Status.Certificates, d.rotation.Progress
	if is == nil || was != nil && was.Phase == is.Phase && was.Started.Equal(&is.Started) {
		return nil
	}
	e := upgrade.Event{Reason: "Root" + string(is.Phase), Message: fmt.Sprintf("root rotation (%s): %s", is.Trigger, is.Phase)}
	if is.Message != "" {
		e.Message += ": " + is.Message
	}
	first := was == nil || !was.Started.Equal(&is.Started)
	e.Warning = first && is.Trigger == v1alpha1.TriggerRootLost || is.Phase == v1alpha1.RotationRefused
	return []upgrade.Event{e}
}
