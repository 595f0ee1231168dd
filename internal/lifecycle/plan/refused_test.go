// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
)

// TestRefused: a refusal stands in the conditions that are not True and in an upgrade, once, and goes with it.
func TestRefused(t *testing.T) {
	status := func(ready metav1.ConditionStatus) v1alpha1.MeshStatus {
		return v1alpha1.MeshStatus{
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionControlPlaneReady, Status: ready}, {Type: v1alpha1.ConditionReady, Status: ready}},
			Upgrade:    &v1alpha1.UpgradeStatus{Phase: v1alpha1.PhaseShadow, Message: "coming up"},
		}
	}
	s := Refused(Refused(status(metav1.ConditionFalse), 1, "first"), 1, "second")
	for _, kind := range []string{v1alpha1.ConditionControlPlaneReady, v1alpha1.ConditionReady} {
		if c := meta.FindStatusCondition(s.Conditions, kind); c.Reason != v1alpha1.ReasonRefused || !strings.Contains(c.Message, "second") {
			t.Errorf("%s: %+v", kind, c)
		}
	}
	if s.Upgrade.Message != "coming up; the API server refuses a step: second" {
		t.Error(s.Upgrade.Message)
	}
	if s = Refused(s, 1, ""); s.Upgrade.Message != "coming up" {
		t.Error(s.Upgrade.Message)
	}
	if s = Refused(status(metav1.ConditionTrue), 1, "x"); !meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionReady) {
		t.Error("a mesh that is ready is so no more")
	}
}

// TestManyRefusals: however many pods an API server refuses to change, the status is one that it takes, and the
// condition of a rollback does not have the refusals of the reconciliation before.
func TestManyRefusals(t *testing.T) {
	s := v1alpha1.MeshStatus{
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionControlPlaneReady, Status: metav1.ConditionFalse}, {Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse}},
		Upgrade:    &v1alpha1.UpgradeStatus{Phase: v1alpha1.PhaseRollingBack, Message: "a gate failed"},
	}
	s = Refused(s, 1, strings.Repeat("pods \"p\" is forbidden; ", 10_000))
	for _, c := range s.Conditions {
		if len(c.Message) > 4000 {
			t.Errorf("%s has a message of %d bytes", c.Type, len(c.Message))
		}
	}
	if n := len(s.Upgrade.Message); n > 4000 || !strings.Contains(s.Upgrade.Message, "is forbidden") {
		t.Errorf("the upgrade's message has %d bytes", n)
	}
	if got := withoutRefusal(s.Upgrade.Message); got != "a gate failed" {
		t.Error(got)
	}
	var c conditions
	c.add("X", health.Verdict{Message: strings.Repeat("x", 100_000)})
	if n := len(c.list[0].Message); n > 32768 {
		t.Errorf("a condition's message has %d bytes", n)
	}
}

// TestRootsUnwritten: the namespaces are named and the condition's status stays.
func TestRootsUnwritten(t *testing.T) {
	s := v1alpha1.MeshStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionInjectionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonInjecting, Message: "m"}}}
	list := []Unwritten{{"a", "no"}, {"b", strings.Repeat("x", 5000)}, {"c", "no"}, {"d", "no"}, {"e", "no"}}
	c := RootsUnwritten(s, list).Conditions[0]
	if c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonRootsUnwritten || !strings.Contains(c.Message, "namespace a (no), b (xxx") || !strings.HasSuffix(c.Message, "c (no), 2 more") || len(c.Message) > 1000 {
		t.Errorf("%+v", c)
	}
	waiting := v1alpha1.MeshStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionInjectionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonBlocked}}}
	if c := RootsUnwritten(waiting, list).Conditions[0]; c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonBlocked {
		t.Errorf("%+v", c)
	}
	if s.Conditions[0].Message != "m" || RootsUnwritten(s, nil).Conditions[0].Message != "m" {
		t.Error("the status that was given is changed")
	}
}
