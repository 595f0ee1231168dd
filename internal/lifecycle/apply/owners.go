// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package apply

import (
	"encoding/json"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/names"
)

// Applied tells whether this operator has applied an object: nothing else uses its field manager.
func Applied(entries []metav1.ManagedFieldsEntry) bool {
	for _, e := range entries {
		if isApply(e) {
			return true
		}
	}
	return false
}

func isApply(e metav1.ManagedFieldsEntry) bool {
	return e.Manager == names.FieldManager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == ""
}

// Owners tells who manages a field (https://kubernetes.io/docs/reference/using-api/server-side-apply/):
// entries for which ours is true, and any others. path is spelled as in managedFields: "f:spec",
// "f:replicas", or `k:{"type":"Ready"}` for an entry of a list.
func Owners(entries []metav1.ManagedFieldsEntry, ours func(metav1.ManagedFieldsEntry) bool, path ...string) (we, others bool) {
	for _, e := range entries {
		if e.FieldsV1 == nil || !contains(e.FieldsV1.GetRawBytes(), path) {
			continue
		}
		if ours(e) {
			we = true
		} else {
			others = true
		}
	}
	return we, others
}

// contains tells whether a set of fields has one at the path.
func contains(fields json.RawMessage, path []string) bool {
	for _, p := range path {
		var level map[string]json.RawMessage
		if json.Unmarshal(fields, &level) != nil {
			return false
		}
		next, ok := level[p]
		if !ok {
			return false
		}
		fields = next
	}
	return true
}

// Replicas returns the number of replicas to apply to a Deployment that is to have n; nil leaves the field
// out. d is the Deployment as it is, or nil. A number that something else has set (an autoscaler, kubectl
// scale) stays, until it is n again. With autoscaled, the number that is there stays in any case: a field
// that only the operator manages would get its default, 1, if it were left out.
func Replicas(d *appsv1.Deployment, n int32, autoscaled bool) *int32 {
	if d == nil {
		return &n
	}
	live := int32(1)
	if d.Spec.Replicas != nil {
		live = *d.Spec.Replicas
	}
	we, others := Owners(d.ManagedFields, isApply, "f:spec", "f:replicas")
	switch {
	case live == n:
		return &n
	case others && !we:
		return nil
	case autoscaled:
		return &live
	}
	return &n
}
