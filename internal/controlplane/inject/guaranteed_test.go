// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"tulle.dev/tulle/internal/names"
)

// classOf is the QoS class, as the API server computes it
// (k8s.io/kubernetes/pkg/apis/core/v1/helper/qos).
func classOf(pod *corev1.Pod) corev1.PodQOSClass {
	requests, limits, all := corev1.ResourceList{}, corev1.ResourceList{}, true
	add := func(to, list corev1.ResourceList) (n int) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			if q := list[name]; q.Sign() > 0 {
				sum := to[name]
				sum.Add(q)
				to[name], n = sum, n+1
			}
		}
		return n
	}
	if pod.Spec.Resources != nil {
		add(requests, pod.Spec.Resources.Requests)
		all = add(limits, pod.Spec.Resources.Limits) == 2
	} else {
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			add(requests, withMissing(c.Resources.Requests.DeepCopy(), c.Resources.Limits)) // the API server's default
			all = add(limits, c.Resources.Limits) == 2 && all
		}
	}
	if len(requests) == 0 && len(limits) == 0 {
		return corev1.PodQOSBestEffort
	}
	for name, q := range requests {
		l, ok := limits[name]
		all = all && ok && l.Cmp(q) == 0
	}
	if all && len(requests) == len(limits) {
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

func resources(requests, limits string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: amounts(requests), Limits: amounts(limits)}
}

// TestGuaranteedStays: a Guaranteed pod stays Guaranteed, whatever the Mesh and the annotations say of
// the proxy's resources and within the bounds of the namespace, and one that is not gets what it got.
func TestGuaranteedStays(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	app := func(requests, limits string) corev1.Container {
		return corev1.Container{Name: "app", Image: "i", Resources: resources(requests, limits)}
	}
	bounds := func(item corev1.LimitRangeItem) Bounds {
		item.Type = corev1.LimitTypeContainer
		return Bounds{Ranges: []corev1.LimitRange{{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}}}}}
	}
	for name, c := range map[string]struct {
		containers, init []corev1.Container
		whole            *corev1.ResourceRequirements
		mesh             corev1.ResourceRequirements
		annotations      map[string]string
		bounds           Bounds
		class            corev1.PodQOSClass
		slot             string // CPU and memory of slot a: requests, limits
	}{
		"as installed":        {containers: []corev1.Container{app("50m 64Mi", "50m 64Mi")}, class: "Guaranteed", slot: "200m 256Mi 200m 256Mi"},
		"limits alone":        {containers: []corev1.Container{app("- -", "2 4Gi")}, class: "Guaranteed", slot: "200m 256Mi 200m 256Mi"},
		"whole CPUs":          {containers: []corev1.Container{app("2 4Gi", "2 4Gi")}, class: "Guaranteed", slot: "200m 256Mi 200m 256Mi"},
		"with init and agent": {containers: []corev1.Container{app("1 1Gi", "1 1Gi")}, init: []corev1.Container{{Name: "a", Resources: resources("1 1Gi", "1 1Gi")}, {Name: "b", RestartPolicy: &always, Resources: resources("5m 9Mi", "5m 9Mi")}}, class: "Guaranteed", slot: "200m 256Mi 200m 256Mi"},
		"an init without":     {containers: []corev1.Container{app("1 1Gi", "1 1Gi")}, init: []corev1.Container{{Name: "a"}}, class: "Burstable", slot: "25m 48Mi 0 1Gi"},
		"burstable":           {containers: []corev1.Container{app("50m 64Mi", "60m 64Mi")}, class: "Burstable", slot: "25m 48Mi 0 1Gi"},
		"no CPU limit":        {containers: []corev1.Container{app("50m 64Mi", "- 64Mi")}, class: "Burstable", slot: "25m 48Mi 0 1Gi"},
		"best effort":         {containers: []corev1.Container{app("- -", "- -")}, class: "Burstable", slot: "25m 48Mi 0 1Gi"},
		"all annotations": {
			containers: []corev1.Container{app("1 1Gi", "1 1Gi")}, class: "Guaranteed", slot: "100m 128Mi 100m 128Mi",
			annotations: map[string]string{names.AnnotationProxyCPURequest: "100m", names.AnnotationProxyCPULimit: "100m", names.AnnotationProxyMemoryRequest: "128Mi", names.AnnotationProxyMemoryLimit: "128Mi"},
		},
		"requests annotated": {
			containers: []corev1.Container{app("1 1Gi", "1 1Gi")}, class: "Guaranteed", slot: "300m 64Mi 300m 64Mi",
			annotations: map[string]string{names.AnnotationProxyCPURequest: "300m", names.AnnotationProxyMemoryRequest: "64Mi"},
		},
		"limits annotated": {
			containers: []corev1.Container{app("1 1Gi", "1 1Gi")}, class: "Guaranteed", slot: "1 512Mi 1 512Mi",
			annotations: map[string]string{names.AnnotationProxyCPURequest: "300m", names.AnnotationProxyCPULimit: "1", names.AnnotationProxyMemoryLimit: "512Mi"},
		},
		"the Mesh asks for more":    {containers: []corev1.Container{app("1 1Gi", "1 1Gi")}, mesh: resources("500m 1Gi", "2 2Gi"), class: "Guaranteed", slot: "500m 1Gi 500m 1Gi"},
		"the Mesh allows less":      {containers: []corev1.Container{app("1 1Gi", "1 1Gi")}, mesh: resources("10m 32Mi", "150m 128Mi"), class: "Guaranteed", slot: "150m 128Mi 150m 128Mi"},
		"the Mesh names memory":     {containers: []corev1.Container{app("1 1Gi", "1 1Gi")}, mesh: resources("- 300Mi", "- -"), class: "Guaranteed", slot: "200m 300Mi 200m 300Mi"},
		"a maximum":                 {containers: []corev1.Container{app("50m 64Mi", "50m 64Mi")}, bounds: bounds(corev1.LimitRangeItem{Max: amounts("100m 128Mi")}), class: "Guaranteed", slot: "100m 128Mi 100m 128Mi"},
		"a minimum":                 {containers: []corev1.Container{app("1 1Gi", "1 1Gi")}, bounds: bounds(corev1.LimitRangeItem{Min: amounts("500m 512Mi")}), class: "Guaranteed", slot: "500m 512Mi 500m 512Mi"},
		"a ratio and defaults":      {containers: []corev1.Container{app("1 1Gi", "1 1Gi")}, bounds: bounds(corev1.LimitRangeItem{Default: amounts("1 1Gi"), DefaultRequest: amounts("10m 10Mi"), MaxLimitRequestRatio: amounts("2 2")}), class: "Guaranteed", slot: "200m 256Mi 200m 256Mi"},
		"the pod as a whole":        {containers: []corev1.Container{app("- -", "- -")}, whole: ptrTo(resources("1 1Gi", "1 1Gi")), class: "Guaranteed", slot: "25m 48Mi 0 0"},
		"the pod as a whole, apart": {containers: []corev1.Container{app("1 1Gi", "1 1Gi")}, whole: ptrTo(resources("1 1Gi", "2 1Gi")), class: "Burstable", slot: "25m 48Mi 0 0"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: c.containers, InitContainers: c.init, Resources: c.whole}}
			pod.Annotations = c.annotations
			ns := NamespaceFacts{Name: "n", Labels: map[string]string{names.LabelInject: names.InjectEnabled}, Bounds: c.bounds}
			for _, resizable := range []bool{false, true} {
				s := testSettings()
				s.Resources, s.Resizable = c.mesh, resizable
				r, refusal := Pod(pod, ns, s)
				if refusal != nil {
					t.Fatal(refusal.Message())
				}
				if got := classOf(r.Pod); got != c.class {
					t.Errorf("the pod is %s, want %s", got, c.class)
				}
				again(t, r.Pod, ns, s)
				if resizable {
					continue
				}
				got := r.Pod.Spec.InitContainers[1].Resources
				said := got.Requests.Cpu().String() + " " + got.Requests.Memory().String() + " " + got.Limits.Cpu().String() + " " + got.Limits.Memory().String()
				if said != c.slot {
					t.Errorf("slot a has %s, want %s", said, c.slot)
				}
			}
		})
	}
}

func ptrTo[T any](v T) *T { return &v }

// TestClassFollowsLatecomers: a pod that is Guaranteed when it is injected, and no longer when another
// webhook has added to it, gets a proxy as any other; and the other way round.
func TestClassFollowsLatecomers(t *testing.T) {
	ns := NamespaceFacts{Name: "n", Labels: map[string]string{names.LabelInject: names.InjectEnabled}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Resources: resources("1 1Gi", "1 1Gi")}}}}
	late := corev1.Container{Name: "late"}
	first, _ := Pod(pod, ns, testSettings())
	first.Pod.Spec.Containers = append(first.Pod.Spec.Containers, late)
	second, refusal := Pod(first.Pod, ns, testSettings())
	if refusal != nil {
		t.Fatal(refusal.Message())
	}
	if l := second.Pod.Spec.InitContainers[1].Resources.Limits; !l.Cpu().IsZero() || l.Memory().Cmp(resource.MustParse("1Gi")) != 0 {
		t.Errorf("slot a is limited to %v", l)
	}
	second.Pod.Spec.Containers = second.Pod.Spec.Containers[:1]
	third, refusal := Pod(second.Pod, ns, testSettings())
	if refusal != nil {
		t.Fatal(refusal.Message())
	}
	if got := classOf(third.Pod); got != corev1.PodQOSGuaranteed {
		t.Errorf("the pod is %s", got)
	}
}
