// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/names"
)

// replaced gives a slot an image, and the pod the label that the operator sets with it.
func replaced(image string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.InitContainers[1].Image = image
		metav1.SetMetaDataLabel(&p.ObjectMeta, names.LabelImageReplaced, "true")
	}
}

// TestFence gives the operator's account all rights on pods and sees what the policy still forbids.
func TestFence(t *testing.T) {
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "all-pods"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods", "pods/ephemeralcontainers", "pods/resize"}, Verbs: []string{"get", "update", "patch"}}},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "all-pods"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "all-pods"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "tulle-operator", Namespace: system}},
	}
	for _, o := range []client.Object{role, binding} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	operator, err := client.New(as(operatorUser), client.Options{Scheme: admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	namespace(t, "fenced", nil)
	always := corev1.ContainerRestartPolicyAlways
	asks := func(cpu string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("16Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
		}
	}
	victim := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "fenced", Name: "victim", Labels: map[string]string{"app": "web", "tulle.dev/version": "0.2.0"}},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{
				{Name: "tulle-init", Image: "registry.example:5000/tulle-proxy:1"},
				{Name: "tulle-proxy-a", Image: "registry.example:5000/tulle-proxy:1", RestartPolicy: &always, Resources: asks("45m")},
				{Name: "tulle-proxy-b", Image: "registry.example:5000/tulle-proxy:1", RestartPolicy: &always, Resources: asks("5m")},
				{Name: "theirs", Image: "registry.example:5000/tulle-proxy:1", RestartPolicy: &always, Resources: asks("5m")},
			},
			Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1", Resources: asks("5m")}},
		},
	}
	if err := admin.Create(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	images := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: names.ImagesRole}}
	update(t, images, func() {
		metav1.SetMetaDataAnnotation(&images.ObjectMeta, "tulle.dev/more-repositories", "tulle.test/mirror/tulle-proxy")
	})
	defer update(t, images, func() {
		metav1.SetMetaDataAnnotation(&images.ObjectMeta, "tulle.dev/more-repositories", "")
	})
	eventually(t, "the mirror is allowed", func() string {
		p := victim.DeepCopy()
		p.Spec.InitContainers[1].Image = "tulle.test/mirror/tulle-proxy:2"
		p.Labels[names.LabelImageReplaced] = "true"
		if err := operator.Patch(t.Context(), p, client.MergeFrom(victim), client.DryRunAll); err != nil {
			return err.Error()
		}
		return ""
	})
	// A policy works some time after it was made: wait until it does.
	eventually(t, "the policy works", func() string {
		p := victim.DeepCopy()
		p.Spec.Containers[0].Image = "evil"
		if err := operator.Patch(t.Context(), p, client.MergeFrom(victim), client.DryRunAll); err == nil {
			return "a foreign image is let through"
		}
		return ""
	})
	for name, c := range map[string]struct {
		change  func(*corev1.Pod)
		refusal string // empty: allowed
	}{
		"another tag": {func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "registry.example:5000/tulle-proxy:2" }, ""},
		"a digest": {func(p *corev1.Pod) {
			p.Spec.InitContainers[2].Image = "registry.example:5000/tulle-proxy@sha256:" + strings.Repeat("0", 64)
		}, ""},
		"tag and digest": {func(p *corev1.Pod) {
			p.Spec.InitContainers[2].Image = "registry.example:5000/tulle-proxy:2@sha256:" + strings.Repeat("0", 64)
		}, ""},
		"Tulle's label":               {func(p *corev1.Pod) { p.Labels["tulle.dev/version"] = "0.3.0" }, ""},
		"a mirror that is listed":     {replaced("tulle.test/mirror/tulle-proxy:2"), ""},
		"the release's repository":    {replaced("tulle.test/proxy:2"), ""},
		"the same, marked":            {replaced("registry.example:5000/tulle-proxy:2"), ""},
		"a mirror, not marked":        {func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "tulle.test/mirror/tulle-proxy:2" }, "with label tulle.dev/image-replaced"},
		"a path below it, marked":     {replaced("tulle.test/mirror/tulle-proxy/x:2"), "same repository"},
		"another registry, marked":    {replaced("evil.example:5000/tulle-proxy:1"), "same repository"},
		"no repository, marked":       {replaced("@sha256:" + strings.Repeat("0", 64)), "same repository"},
		"the init container's mirror": {func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "tulle.test/mirror/tulle-proxy:2" }, "may only change the images of tulle-proxy-a and tulle-proxy-b"},
		"a path below the mirror":     {func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "tulle.test/mirror/tulle-proxy/x:2" }, "same repository"},
		"the annotation is named": {
			replaced("other.example/tulle-proxy:2"),
			`kubectl annotate clusterrole tulle-operator-images --overwrite tulle.dev/more-repositories="tulle.test/mirror/tulle-proxy other.example/tulle-proxy"`,
		},
		"another repository":          {func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "registry.example:5000/evil:1" }, "same repository"},
		"a longer name":               {func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "registry.example:5000/tulle-proxy-evil:1" }, "same repository"},
		"a longer path":               {func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "registry.example:5000/tulle-proxy/evil:1" }, "same repository"},
		"another registry":            {func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "evil.example:5000/tulle-proxy:1" }, "same repository"},
		"another port":                {func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "registry.example:5001/tulle-proxy:1" }, "same repository"},
		"no registry":                 {func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "tulle-proxy:1" }, "same repository"},
		"the init container":          {func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "registry.example:5000/tulle-proxy:2" }, "may only change the images of tulle-proxy-a and tulle-proxy-b"},
		"somebody's sidecar":          {func(p *corev1.Pod) { p.Spec.InitContainers[3].Image = "registry.example:5000/tulle-proxy:2" }, "may only change the images of tulle-proxy-a and tulle-proxy-b"},
		"the application":             {func(p *corev1.Pod) { p.Spec.Containers[0].Image = "registry.example/app:2" }, "may not change the application's containers"},
		"somebody's label":            {func(p *corev1.Pod) { p.Labels["app"] = "other" }, "labels and annotations that begin with tulle.dev/"},
		"somebody's label taken away": {func(p *corev1.Pod) { delete(p.Labels, "app") }, "labels and annotations that begin with tulle.dev/"},
		"an annotation":               {func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }, "labels and annotations that begin with tulle.dev/"},
		"a finalizer":                 {func(p *corev1.Pod) { p.Finalizers = []string{"example.com/x"} }, "finalizers or owners"},
		"a toleration": {func(p *corev1.Pod) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: "a", Operator: corev1.TolerationOpExists})
		}, "may only change the images of the proxy slots"},
	} {
		t.Run(name, func(t *testing.T) {
			p := victim.DeepCopy()
			c.change(p)
			err := operator.Patch(t.Context(), p, client.MergeFrom(victim), client.DryRunAll)
			if c.refusal == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)) {
				t.Errorf("want a refusal with %q, got %v", c.refusal, err)
			}
			// Anybody else may do what their rights allow.
			q := victim.DeepCopy()
			c.change(q)
			if err := admin.Patch(t.Context(), q, client.MergeFrom(victim), client.DryRunAll); err != nil {
				t.Errorf("refused to the administrator: %v", err)
			}
		})
	}
	// A container slipped into a running pod.
	p := victim.DeepCopy()
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "shell", Image: "evil"}}}
	if err := operator.SubResource("ephemeralcontainers").Update(t.Context(), p); err == nil || !strings.Contains(err.Error(), "may only change the images") {
		t.Errorf("an ephemeral container: %v", err)
	}
	// What a running pod's containers ask for.
	for name, c := range map[string]struct {
		change  func(*corev1.Pod)
		refusal string
	}{
		"the slots' requests": {func(p *corev1.Pod) {
			p.Spec.InitContainers[1].Resources, p.Spec.InitContainers[2].Resources = asks("5m"), asks("45m")
		}, ""},
		"a slot's limit": {func(p *corev1.Pod) {
			p.Spec.InitContainers[1].Resources.Limits[corev1.ResourceMemory] = resource.MustParse("2Gi")
		}, "and not their limits"},
		"somebody's sidecar": {func(p *corev1.Pod) { p.Spec.InitContainers[3].Resources = asks("1") }, "may only change the requests of tulle-proxy-a and tulle-proxy-b"},
		"the application":    {func(p *corev1.Pod) { p.Spec.Containers[0].Resources = asks("1") }, "may not change the application's containers"},
	} {
		t.Run("resize: "+name, func(t *testing.T) {
			p := victim.DeepCopy()
			c.change(p)
			err := operator.SubResource("resize").Patch(t.Context(), p, client.StrategicMergeFrom(victim), client.DryRunAll)
			if c.refusal == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)) {
				t.Errorf("want a refusal with %q, got %v", c.refusal, err)
			}
		})
	}
}
