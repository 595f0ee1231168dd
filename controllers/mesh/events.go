// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/clip"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

// maxNote is how many bytes of a note the API takes.
const maxNote = 1024

// tell makes events of what happened. It is done before the status is written that would keep the next
// round from telling it again; a round that is done twice tells once all the same, because an event's
// name follows from what it says and from the status before. It is the best of efforts.
func (r *Reconciler) tell(ctx context.Context, m *v1alpha1.Mesh, list []upgrade.Event) {
	for _, e := range list {
		err := r.Client.Create(ctx, eventOf(m, e, r.Now()), client.FieldOwner(names.FieldManager))
		if err != nil && !apierrors.IsAlreadyExists(err) {
			ctrl.LoggerFrom(ctx).Info("An event could not be made", "reason", e.Reason, "error", err.Error())
		}
	}
}

// eventOf is the event; m has the status from before. Kubernetes' own recorder is not used, because it
// takes two events of one reason for one.
func eventOf(m *v1alpha1.Mesh, e upgrade.Event, now time.Time) *eventsv1.Event {
	kind := corev1.EventTypeNormal
	if e.Warning {
		kind = corev1.EventTypeWarning
	}
	sum := sha256.Sum256([]byte(occasion(m) + "\n" + e.Reason + "\n" + e.Message))
	return &eventsv1.Event{
		// A Mesh has no namespace, and the events of what has none are in "default".
		ObjectMeta:          metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: m.Name + "." + hex.EncodeToString(sum[:8])},
		EventTime:           metav1.NewMicroTime(now),
		ReportingController: names.Operator,
		ReportingInstance:   names.Operator,
		Action:              "Reconcile",
		Reason:              e.Reason,
		Regarding: corev1.ObjectReference{
			APIVersion: v1alpha1.GroupVersion().String(), Kind: "Mesh", Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		},
		Note: clip.Text(e.Message, maxNote-len("...")),
		Type: kind,
	}
}

// occasion tells events apart that say the same of different things: of another upgrade, another phase,
// another rotation, another time that the mesh was not Ready.
func occasion(m *v1alpha1.Mesh) string {
	s := fmt.Sprint(m.UID, m.Generation)
	if u := m.Status.Upgrade; u != nil {
		s += fmt.Sprint(" upgrade ", u.Started.Unix(), u.Phase, u.Wave)
	}
	if c := m.Status.Certificates; c != nil {
		s += fmt.Sprint(" rotation ", c.Started.Unix(), c.Phase)
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionConflicted} {
		if c := meta.FindStatusCondition(m.Status.Conditions, kind); c != nil {
			s += fmt.Sprint(" ", kind, c.Status, c.LastTransitionTime.Unix())
		}
	}
	return s
}

// turns are the events of the Mesh that gets Ready, or is no more, or is not the active one: was is the
// status that is written, and is the one that will be.
func turns(was, is []metav1.Condition) []upgrade.Event {
	var out []upgrade.Event
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionConflicted} {
		before, now := meta.FindStatusCondition(was, kind), meta.FindStatusCondition(is, kind)
		switch {
		case now == nil || before != nil && before.Status == now.Status:
		case before == nil && kind == v1alpha1.ConditionReady && now.Status != metav1.ConditionTrue:
			// A new Mesh is not Ready yet, and nothing happened to it.
		default:
			good := (now.Status == metav1.ConditionTrue) == (kind == v1alpha1.ConditionReady)
			reason := now.Reason
			switch {
			case kind != v1alpha1.ConditionReady || good:
			case reason == v1alpha1.ReasonDeleting:
				good = true // somebody wants it so
			default:
				reason = "NotReady"
			}
			out = append(out, upgrade.Event{Warning: !good, Reason: reason, Message: now.Message})
		}
	}
	return out
}
