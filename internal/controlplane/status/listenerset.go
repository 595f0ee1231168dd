// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"context"
	"slices"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// ListenerSet returns a ListenerSet's status as the verdict and the proxies of its Gateway have it.
// Conditions of others stay.
func ListenerSet(old gwapiv1.ListenerSetStatus, v ListenerSetVerdict, o Outcome) gwapiv1.ListenerSetStatus {
	out := *old.DeepCopy()
	state := setProgrammed(v, o)
	for _, c := range []metav1.Condition{v.Accepted, programmed(string(gwapiv1.ListenerSetConditionProgrammed), v.Generation, state)} {
		apimeta.SetStatusCondition(&out.Conditions, c)
	}
	out.Conditions = withRoom(out.Conditions)
	out.Listeners = nil
	for _, l := range v.Listeners {
		l = *l.DeepCopy()
		ls := state
		if !slices.Contains(v.Serving, string(l.Name)) {
			ls = notServed(l.Conditions)
		}
		l.Conditions = append(l.Conditions, programmed(string(gwapiv1.ListenerEntryConditionProgrammed), v.Generation, ls))
		var before []metav1.Condition
		if i := slices.IndexFunc(old.Listeners, func(x gwapiv1.ListenerEntryStatus) bool { return x.Name == l.Name }); i >= 0 {
			before = old.Listeners[i].Conditions
		}
		l.Conditions = carryOver(l.Conditions, before)
		out.Listeners = append(out.Listeners, l)
	}
	return out
}

// setProgrammed puts Gateway API's reasons on the outcome. Where the set is not accepted the reason is
// the same (ListenerSet, condition Programmed).
func setProgrammed(v ListenerSetVerdict, o Outcome) Outcome {
	switch {
	case v.Accepted.Status != metav1.ConditionTrue:
		return Outcome{Reason: v.Accepted.Reason, Message: v.Accepted.Message}
	case o.Reason == ReasonNoProxies:
		return Outcome{Reason: string(gwapiv1.ListenerSetReasonPending), Message: "no proxy of Gateway " + v.Gateway.String() + " is connected yet"}
	case o.Programmed:
		o.Reason = string(gwapiv1.ListenerSetReasonProgrammed)
	case o.Reason == ReasonRejected:
		o.Reason = string(gwapiv1.ListenerSetReasonInvalid)
	default:
		o.Reason = string(gwapiv1.ListenerSetReasonPending)
	}
	return o
}

// notServed is the state of a listener that is not given to proxies. A conflict is its own reason.
func notServed(conditions []metav1.Condition) Outcome {
	if c := apimeta.FindStatusCondition(conditions, string(gwapiv1.ListenerConditionConflicted)); c != nil && c.Status == metav1.ConditionTrue {
		return Outcome{Reason: c.Reason, Message: c.Message}
	}
	return Outcome{Reason: string(gwapiv1.ListenerReasonInvalid), Message: "the listener is not served; its other conditions say why"}
}

func (w *Writer) writeListenerSet(ctx context.Context, id model.Object) error {
	set := &gwapiv1.ListenerSet{}
	return w.update(ctx, id, set, func() bool {
		v := w.sets[model.Key{Namespace: id.Namespace, Name: id.Name}]
		if v.Generation != set.Generation {
			return false
		}
		return replace(&set.Status, ListenerSet(set.Status, v, w.judgedOne(id, v.Need, set.Status.Conditions, string(gwapiv1.ListenerSetConditionProgrammed))))
	})
}
