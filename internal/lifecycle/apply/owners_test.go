// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package apply

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func entry(manager, subresource string, op metav1.ManagedFieldsOperationType, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Subresource: subresource, Operation: op, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}
}

// TestReplicas: who has set the number keeps it (case 23), and the operator's own number is not dropped.
func TestReplicas(t *testing.T) {
	const has, hasNot = `{"f:spec":{"f:replicas":{}}}`, `{"f:spec":{"f:selector":{}}}`
	own := entry("tulle", "", metav1.ManagedFieldsOperationApply, has)
	without := entry("tulle", "", metav1.ManagedFieldsOperationApply, hasNot)
	kubectl := entry("kubectl", "scale", metav1.ManagedFieldsOperationUpdate, has)
	hpa := entry("kube-controller-manager", "scale", metav1.ManagedFieldsOperationUpdate, has)
	status := entry("kube-controller-manager", "status", metav1.ManagedFieldsOperationUpdate, `{"f:status":{"f:replicas":{}}}`)
	const leaves = -1
	for name, c := range map[string]struct {
		live       int32
		by         []metav1.ManagedFieldsEntry
		n          int32
		autoscaled bool
		want       int32
	}{
		"ours follows the Mesh":                 {2, []metav1.ManagedFieldsEntry{own, status}, 4, false, 4},
		"ours stays":                            {2, []metav1.ManagedFieldsEntry{own}, 2, false, 2},
		"scaled by hand":                        {3, []metav1.ManagedFieldsEntry{without, kubectl}, 2, false, leaves},
		"scaled by an autoscaler":               {7, []metav1.ManagedFieldsEntry{without, hpa, status}, 2, false, leaves},
		"scaled back to the Mesh's number":      {2, []metav1.ManagedFieldsEntry{without, kubectl}, 2, false, 2},
		"then the Mesh's number changes":        {2, []metav1.ManagedFieldsEntry{own, kubectl}, 5, false, 5},
		"autoscaling begins":                    {2, []metav1.ManagedFieldsEntry{own}, 3, true, 2},
		"autoscaling has begun":                 {6, []metav1.ManagedFieldsEntry{without, hpa}, 3, true, leaves},
		"restored without managed fields":       {6, nil, 3, false, 3},
		"restored, and scaled by an autoscaler": {6, nil, 3, true, 6},
	} {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{ManagedFields: c.by}, Spec: appsv1.DeploymentSpec{Replicas: &c.live}}
		got := Replicas(d, c.n, c.autoscaled)
		if (got == nil) != (c.want == leaves) || got != nil && *got != c.want {
			t.Errorf("%s: %v, want %d", name, got, c.want)
		}
	}
	if got := Replicas(nil, 3, true); *got != 3 {
		t.Errorf("a new Deployment begins with %d", *got)
	}
}
