// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/names"
)

// TestStarted: a sidecar has had a configuration once its pod's init containers have ended, and a Gateway's proxy when
// its pod is ready.
func TestStarted(t *testing.T) {
	for _, c := range []struct {
		kind               string
		initialized, ready corev1.ConditionStatus
		want               bool
	}{
		{names.KindSidecar, corev1.ConditionFalse, corev1.ConditionFalse, false},
		{names.KindSidecar, corev1.ConditionTrue, corev1.ConditionFalse, true}, // its application is not ready
		{names.KindSidecar, corev1.ConditionTrue, corev1.ConditionTrue, true},
		{names.KindSidecar, "", "", false},
		{names.KindGateway, corev1.ConditionTrue, corev1.ConditionFalse, false},
		{names.KindGateway, corev1.ConditionTrue, corev1.ConditionTrue, true},
	} {
		p := new(corev1.Pod)
		p.Labels = map[string]string{names.LabelProxy: c.kind}
		for what, status := range map[corev1.PodConditionType]corev1.ConditionStatus{corev1.PodInitialized: c.initialized, corev1.PodReady: c.ready} {
			if status != "" {
				p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: what, Status: status})
			}
		}
		if got := podOf(p).Started; got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
