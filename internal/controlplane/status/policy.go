// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// PolicyVerdict is the status of a policy, which follows from the objects alone.
type PolicyVerdict struct {
	// Generation of the policy that was judged.
	Generation int64
	// Ancestors are those that are ours. Times are zero.
	Ancestors []gwapiv1.PolicyAncestorStatus
}

// maxAncestors is how many ancestors a policy may have, whosever they are (PolicyStatus.ancestors).
const maxAncestors = 16

// Policy sets the verdict on a policy; nil forgets it.
func (w *Writer) Policy(id model.Object, v *PolicyVerdict) { keep(w, w.policies, id, v, id) }

// Ancestors returns a policy's status.ancestors with ours replaced by what the verdict says and
// others' left as they are: where there is no room for all, it is ours that are left out. Times of
// conditions that did not change stay.
func Ancestors(old []gwapiv1.PolicyAncestorStatus, v PolicyVerdict) []gwapiv1.PolicyAncestorStatus {
	var out []gwapiv1.PolicyAncestorStatus
	for _, a := range old {
		if a.ControllerName != names.ControllerName {
			out = append(out, a)
		}
	}
	for _, a := range v.Ancestors {
		if len(out) >= maxAncestors {
			break
		}
		a = *a.DeepCopy()
		var before []metav1.Condition
		for _, o := range old {
			if o.ControllerName == names.ControllerName && equality.Semantic.DeepEqual(o.AncestorRef, a.AncestorRef) {
				before = o.Conditions
			}
		}
		a.Conditions = keepTimes(a.Conditions, before)
		for _, c := range before { // conditions of others on our ancestors
			if apimeta.FindStatusCondition(a.Conditions, c.Type) == nil && len(a.Conditions) < maxConditions {
				a.Conditions = append(a.Conditions, c)
			}
		}
		out = append(out, a)
	}
	return out
}

func (w *Writer) writePolicy(ctx context.Context, id model.Object, obj client.Object, st *gwapiv1.PolicyStatus) error {
	return w.update(ctx, id, obj, func() bool {
		v := w.policies[id]
		if v.Generation != obj.GetGeneration() {
			return false // the verdict on the newer one will come
		}
		ancestors := Ancestors(st.Ancestors, v)
		if ancestors == nil {
			ancestors = []gwapiv1.PolicyAncestorStatus{}
		}
		return replace(&st.Ancestors, ancestors)
	})
}

func policyFaults(id model.Object, v PolicyVerdict) []protocol.RejectedObject {
	var out []protocol.RejectedObject
	for _, a := range v.Ancestors {
		out = append(out, faults(protocol.RejectedObject{Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, Where: parentText(a.AncestorRef)}, a.Conditions)...)
	}
	return out
}
