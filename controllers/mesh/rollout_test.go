// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/names"
)

// TestImagesOnNodes: a node has the image if the pod that was created for it is ready, also where admission of the
// cluster has replaced the repository. The pod of another image says nothing.
func TestImagesOnNodes(t *testing.T) {
	pod := func(node, image, asked string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "tulle-system", Name: node, Labels: map[string]string{names.LabelApp: names.ImagesApp, names.LabelRevision: "0-2-0"},
				Annotations: map[string]string{names.AnnotationPulls: asked},
			},
			Spec:   corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: names.ContainerImage, Image: image}}},
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		}
	}
	c := fake.NewClientBuilder().WithObjects(
		pod("as-asked", "r/p:2", "r/p:2"), pod("mirrored", "mirror/p:2", "r/p:2"), pod("stale", "r/p:1", "r/p:1"), pod("stale-mirror", "mirror/p:2", "old/p:2"),
	).Build()
	r := &Reconciler{Live: c, Namespace: "tulle-system"}
	var o plan.Observed
	on := map[string]bool{"as-asked": true, "mirrored": true, "stale": true, "stale-mirror": true, "new": true}
	if err := r.lookAtImages(t.Context(), "0-2-0", "r/p:2", on, &o); err != nil {
		t.Fatal(err)
	}
	want := []plan.Node{
		{Name: "as-asked", Pulled: true, Image: "r/p:2"},
		{Name: "mirrored", Pulled: true, Image: "mirror/p:2"},
		{Name: "new"},
		{Name: "stale"},
		{Name: "stale-mirror"},
	}
	if d := cmp.Diff(want, o.Rollout.Nodes); d != "" {
		t.Errorf("nodes (-want +got):\n%s", d)
	}
}
