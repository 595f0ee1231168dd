// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"reflect"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/clip"
	"tulle.dev/tulle/internal/names"
)

// TestTinyLabels: of a pod with thousands of labels of a few bytes only those are kept that an upgrade reads itself, and the
// pod says so. All labels of a pod within the bound are kept for selectors, in the pod's own map.
func TestTinyLabels(t *testing.T) {
	p := &corev1.Pod{}
	p.Labels = map[string]string{names.LabelVersion: "0.2.0"}
	for i := range clip.MostLabels - 1 {
		p.Labels[strconv.Itoa(i)] = "x"
	}
	got := PodFrom(p, "", "")
	if got.LabelsCut() || reflect.ValueOf(got.Labels).Pointer() != reflect.ValueOf(p.Labels).Pointer() {
		t.Errorf("%d labels are copied, cut %v", len(got.Labels), got.LabelsCut())
	}
	p.Labels["one more"] = ""
	if got = PodFrom(p, "", ""); !got.LabelsCut() || len(got.Labels) > 2 || got.version() != "0.2.0" {
		t.Errorf("kept: %v", got.Labels)
	}
}
