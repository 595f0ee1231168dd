// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/names"
)

func ancestor(controller gwapiv1.GatewayController, name string, cs ...metav1.Condition) gwapiv1.PolicyAncestorStatus {
	return gwapiv1.PolicyAncestorStatus{AncestorRef: gwapiv1.ParentReference{Name: gwapiv1.ObjectName(name)}, ControllerName: controller, Conditions: cs}
}

func told(ancestors []gwapiv1.PolicyAncestorStatus) []string {
	var out []string
	for _, a := range ancestors {
		s := string(a.ControllerName) + " " + string(a.AncestorRef.Name)
		for _, c := range a.Conditions {
			s += fmt.Sprintf(", %s %s %d", c.Type, c.Status, c.ObservedGeneration)
		}
		out = append(out, s)
	}
	return out
}

// TestAncestors: ours are replaced, others' stay, and with them conditions of others on ours; the list
// is never longer than the API allows.
func TestAncestors(t *testing.T) {
	const theirs = "their.example/controller"
	accepted := metav1.Condition{Type: "Accepted", Status: metav1.ConditionTrue, Reason: "Accepted", ObservedGeneration: 2}
	extra := metav1.Condition{Type: "their.example/Seen", Status: metav1.ConditionTrue, Reason: "Seen", ObservedGeneration: 1}
	before := time.Now().Add(-time.Hour).Truncate(time.Second)
	was := accepted
	was.ObservedGeneration, was.LastTransitionTime = 1, metav1.NewTime(before)
	old := []gwapiv1.PolicyAncestorStatus{
		ancestor(names.ControllerName, "edge", was, extra), ancestor(theirs, "edge", was), ancestor(names.ControllerName, "gone", was),
	}
	got := Ancestors(old, PolicyVerdict{Generation: 2, Ancestors: []gwapiv1.PolicyAncestorStatus{
		ancestor(names.ControllerName, "edge", accepted), ancestor(names.ControllerName, "new", accepted),
	}})
	want := []string{
		theirs + " edge, Accepted True 1",
		names.ControllerName + " edge, Accepted True 2, their.example/Seen True 1",
		names.ControllerName + " new, Accepted True 2",
	}
	if d := cmp.Diff(want, told(got)); d != "" {
		t.Error(d)
	}
	if c := got[1].Conditions[0]; !c.LastTransitionTime.Time.Equal(before) {
		t.Errorf("a condition that did not change got the time %s", c.LastTransitionTime)
	}
	if d := cmp.Diff(got, Ancestors(got, PolicyVerdict{Generation: 2, Ancestors: got[1:]})); d != "" {
		t.Errorf("what is written already changes:\n%s", d)
	}

	var full []gwapiv1.PolicyAncestorStatus
	for i := range 15 {
		full = append(full, ancestor(theirs, fmt.Sprint(i), was))
	}
	got = Ancestors(full, PolicyVerdict{Ancestors: []gwapiv1.PolicyAncestorStatus{
		ancestor(names.ControllerName, "a", accepted), ancestor(names.ControllerName, "b", accepted),
	}})
	if len(got) != maxAncestors || got[15].AncestorRef.Name != "a" {
		t.Errorf("of a full list becomes %v", told(got))
	}
}

// TestInsecureModeGoes: the warning is removed as soon as it holds no more, and conditions of others stay.
func TestInsecureModeGoes(t *testing.T) {
	warning := metav1.Condition{Type: string(gwapiv1.GatewayConditionInsecureFrontendValidationMode), Status: metav1.ConditionTrue, Reason: "ConfigurationChanged"}
	deployed := metav1.Condition{Type: "tulle.dev/Deployed", Status: metav1.ConditionTrue, Reason: "Deployed"}
	v := GatewayVerdict{Generation: 1, GatewayVerdict: gatewayapi.GatewayVerdict{Conditions: []metav1.Condition{warning}}}
	st := Gateway(gwapiv1.GatewayStatus{Conditions: []metav1.Condition{deployed}}, v, Outcome{})
	if apimeta.FindStatusCondition(st.Conditions, warning.Type) == nil {
		t.Fatal("no warning")
	}
	v.Conditions = nil
	st = Gateway(st, v, Outcome{})
	if apimeta.FindStatusCondition(st.Conditions, warning.Type) != nil {
		t.Error("the warning stays")
	}
	if apimeta.FindStatusCondition(st.Conditions, deployed.Type) == nil {
		t.Error("the operator's condition is gone")
	}
}
