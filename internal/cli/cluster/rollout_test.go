// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
)

func ptr[T any](v T) *T { return &v }

// TestRolloutOfDeployment: it has ended when all pods are of the newest template and available, and no other is there.
func TestRolloutOfDeployment(t *testing.T) {
	for name, c := range map[string]struct {
		status appsv1.DeploymentStatus
		done   bool
	}{
		"done":            {appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 3, AvailableReplicas: 3}, true},
		"not looked at":   {appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 3, UpdatedReplicas: 3, AvailableReplicas: 3}, false},
		"an old one more": {appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 4, UpdatedReplicas: 3, AvailableReplicas: 3}, false},
		"not available":   {appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 3, AvailableReplicas: 2}, false},
		"half":            {appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 1, AvailableReplicas: 3}, false},
	} {
		d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: ptr[int32](3)}, Status: c.status}
		d.Generation = 2
		if got := ofDeployment(d).done(); got != c.done {
			t.Errorf("%s: %v", name, got)
		}
	}
	d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Paused: true}}
	if r := ofDeployment(d); r.wanted != 1 || !strings.Contains(r.stuck, "rollout resume") {
		t.Errorf("%+v", r)
	}
}

// TestRolloutOfStatefulSet: the same, and what replaces no pods says so.
func TestRolloutOfStatefulSet(t *testing.T) {
	for name, c := range map[string]struct {
		status appsv1.StatefulSetStatus
		done   bool
	}{
		"done":          {appsv1.StatefulSetStatus{ObservedGeneration: 2, Replicas: 2, AvailableReplicas: 2, CurrentRevision: "b", UpdateRevision: "b"}, true},
		"half":          {appsv1.StatefulSetStatus{ObservedGeneration: 2, Replicas: 2, AvailableReplicas: 2, UpdatedReplicas: 1, CurrentRevision: "a", UpdateRevision: "b"}, false},
		"not looked at": {appsv1.StatefulSetStatus{ObservedGeneration: 1, Replicas: 2, AvailableReplicas: 2, CurrentRevision: "a", UpdateRevision: "a"}, false},
		"not available": {appsv1.StatefulSetStatus{ObservedGeneration: 2, Replicas: 2, AvailableReplicas: 1, CurrentRevision: "b", UpdateRevision: "b"}, false},
	} {
		s := &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Replicas: ptr[int32](2)}, Status: c.status}
		s.Generation = 2
		if got := ofStatefulSet(s).done(); got != c.done {
			t.Errorf("%s: %v", name, got)
		}
	}
	for says, u := range map[string]appsv1.StatefulSetUpdateStrategy{
		"OnDelete":  {Type: appsv1.OnDeleteStatefulSetStrategyType},
		"partition": {RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr[int32](1)}},
	} {
		if r := ofStatefulSet(&appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{UpdateStrategy: u}}); !strings.Contains(r.stuck, says) {
			t.Errorf("%s: %q", says, r.stuck)
		}
	}
}

// TestRolloutOfDaemonSet: the same.
func TestRolloutOfDaemonSet(t *testing.T) {
	d := &appsv1.DaemonSet{Status: appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 3, UpdatedNumberScheduled: 3, NumberAvailable: 3}}
	d.Generation = 2
	if !ofDaemonSet(d).done() {
		t.Error("not done")
	}
	d.Status.UpdatedNumberScheduled = 2
	if ofDaemonSet(d).done() {
		t.Error("done with an old pod")
	}
	d.Spec.UpdateStrategy.Type = appsv1.OnDeleteDaemonSetStrategyType
	if ofDaemonSet(d).stuck == "" {
		t.Error("it replaces no pods")
	}
}

// TestInboundChanged: a mode has been taken up when no listener of any replica is what it was.
func TestInboundChanged(t *testing.T) {
	was := Inbound{"a": {"in/x": "1", "in/y": "2"}}
	for name, c := range map[string]struct {
		is   Inbound
		want bool
	}{
		"all":              {Inbound{"a": {"in/x": "3", "in/y": "4"}}, true},
		"one":              {Inbound{"a": {"in/x": "3", "in/y": "2"}}, false},
		"one replica":      {Inbound{"a": {"in/x": "3", "in/y": "4"}, "b": {"in/x": "1"}}, false},
		"a new replica":    {Inbound{"b": {"in/x": "3", "in/y": "4"}}, true},
		"nobody says":      {Inbound{}, false},
		"no pods any more": {Inbound{"a": {}}, true},
	} {
		if got := c.is.ChangedFrom(was); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
