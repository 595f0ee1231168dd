// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwapixv1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"tulle.dev/tulle/api/v1alpha1"
)

// foreignConditions: on each object whose status the operator writes, a condition of another controller is still
// there, as it was, when the operator has written the status for a new generation.
func foreignConditions(t *testing.T) {
	class := &gwapiv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
	x := &gwapixv1.XMesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
	before := ""
	for _, c := range []struct {
		object     client.Object
		conditions *[]metav1.Condition
		own        string
		change     func(string)
	}{
		{class, &class.Status.Conditions, "Accepted", func(s string) { class.Spec.Description = &s }},
		{x, &x.Status.Conditions, "Accepted", func(s string) { x.Spec.Description = &s }},
		{m, &m.Status.Conditions, v1alpha1.ConditionValid, func(s string) {
			if s == "" {
				m.Spec.Gateway.ServiceType = v1alpha1.GatewayServiceType(before)
				return
			}
			before, m.Spec.Gateway.ServiceType = string(m.Spec.Gateway.ServiceType), "NodePort"
		}},
	} {
		theirs := metav1.Condition{Type: "their.example/Seen", Status: metav1.ConditionTrue, Reason: "Seen", Message: "as it was", LastTransitionTime: metav1.NewTime(time.Unix(1e9, 0))}
		eventually(t, "a condition of another controller", func() string {
			there(t, c.object)
			meta.SetStatusCondition(c.conditions, theirs)
			if err := admin.Status().Update(context.Background(), c.object); err != nil {
				return err.Error()
			}
			return ""
		})
		for _, value := range []string{"changed", ""} {
			update(t, c.object, func() { c.change(value) })
			generation := c.object.GetGeneration()
			eventually(t, "the status of the new generation", func() string {
				there(t, c.object)
				if own := meta.FindStatusCondition(*c.conditions, c.own); own == nil || own.ObservedGeneration < generation {
					return cmp.Diff(generation, own)
				}
				return ""
			})
			got := meta.FindStatusCondition(*c.conditions, theirs.Type)
			if got == nil {
				t.Fatalf("%T: the condition of another controller was removed", c.object)
			}
			if d := cmp.Diff(theirs, *got); d != "" {
				t.Errorf("%T: the condition of another controller was changed: %s", c.object, d)
			}
		}
	}
}
