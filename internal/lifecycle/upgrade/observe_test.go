// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/names"
)

// TestPodFrom: what of a pod makes it take part, and what doesn't.
func TestPodFrom(t *testing.T) {
	for name, c := range map[string]struct {
		change         func(*corev1.Pod)
		order, kubelet string
		left           string // in LeftOut; empty: it takes part
		first          bool
	}{
		"as injected":               {},
		"a kubelet that can":        {kubelet: "v1.32.0"},
		"a kubelet that is unknown": {kubelet: "weird"},
		"a kubelet that can't":      {kubelet: "v1.31.9", left: "before 1.32"},
		"the namespace goes first":  {order: names.UpgradeFirst, first: true},
		"the namespace never does":  {order: names.UpgradeNever, left: "never"},
		"not the pod's first":       {change: func(p *corev1.Pod) { p.Labels[names.LabelUpgrade] = names.UpgradeFirst }, order: names.UpgradeNever, left: "never"},
		"the pod wins":              {change: func(p *corev1.Pod) { p.Labels[names.LabelUpgrade] = names.UpgradeNever }, order: names.UpgradeFirst, left: "never"},
		"a Gateway's":               {change: func(p *corev1.Pod) { p.Labels[names.LabelProxy] = names.KindGateway }, left: "Gateway"},
		"labels only":               {change: func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.InitContainers[:1] }, left: "no container of a proxy"},
		"a single slot":             {change: func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.InitContainers[:2] }, left: "no second slot"},
		"going":                     {change: func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: p.CreationTimestamp.Add(1)} }, left: "deleted"},
		"an order nobody can read":  {change: func(p *corev1.Pod) { p.Annotations = map[string]string{names.AnnotationTarget: "{"} }, left: "can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			yes := true
			p := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: "shop", Name: "web-1", Labels: map[string]string{names.LabelProxy: names.KindSidecar, names.LabelVersion: "0.2.0"},
					OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web", Controller: &yes}},
				},
				Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: names.ContainerInit}, {Name: names.ContainerSlotA, Image: "a:1"}, {Name: names.ContainerSlotB, Image: "b:1"}}},
				Status: corev1.PodStatus{
					Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
					InitContainerStatuses: []corev1.ContainerStatus{{Name: names.ContainerSlotB, State: corev1.ContainerState{
						Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such tag"},
					}}},
				},
			}
			if c.change != nil {
				c.change(p)
			}
			got := PodFrom(p, c.order, c.kubelet)
			if left := got.LeftOut(); c.left == "" && left != "" || !strings.Contains(left, c.left) {
				t.Errorf("left out: %q, want %q", left, c.left)
			}
			if got.Workload != "shop/ReplicaSet/web" || got.Version() != "0.2.0" || (got.A.Image != "a:1") != (name == "labels only") || (got.Order == names.UpgradeFirst) != c.first {
				t.Errorf("%+v", got)
			}
			if got.B.Image != "" && got.B.Problem != "ImagePullBackOff: no such tag" {
				t.Errorf("slot b: %+v", got.B)
			}
		})
	}
}
