// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/slots"
)

// proxyResources are the Mesh's resources of a proxy with what the pod's annotations say instead.
// An annotated limit below the Mesh's request lowers the request with it; the other way round the
// limit rises. Only two annotations that contradict each other are a problem.
func proxyResources(base corev1.ResourceRequirements, a Annotations) (corev1.ResourceRequirements, []string) {
	if len(base.Requests) == 0 && len(base.Limits) == 0 {
		base = slots.DefaultResources()
	}
	out := *base.DeepCopy()
	var problems []string
	for _, r := range []struct {
		name             corev1.ResourceName
		request, limit   *resource.Quantity
		requestA, limitA string
	}{
		{corev1.ResourceCPU, a.CPURequest, a.CPULimit, names.AnnotationProxyCPURequest, names.AnnotationProxyCPULimit},
		{corev1.ResourceMemory, a.MemoryRequest, a.MemoryLimit, names.AnnotationProxyMemoryRequest, names.AnnotationProxyMemoryLimit},
	} {
		if r.request != nil && r.limit != nil && r.request.Cmp(*r.limit) > 0 {
			problems = append(problems, fmt.Sprintf("annotation %s has value %q, allowed is at most %s, which is %q",
				r.requestA, r.request.String(), r.limitA, r.limit.String()))
			continue
		}
		if r.request != nil {
			set(&out.Requests, r.name, *r.request)
			if l, ok := out.Limits[r.name]; ok && l.Cmp(*r.request) < 0 {
				set(&out.Limits, r.name, *r.request)
			}
		}
		if r.limit != nil {
			set(&out.Limits, r.name, *r.limit)
			if q, ok := out.Requests[r.name]; ok && q.Cmp(*r.limit) > 0 {
				set(&out.Requests, r.name, *r.limit)
			}
		}
	}
	return out, problems
}

func set(list *corev1.ResourceList, name corev1.ResourceName, q resource.Quantity) {
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = q.DeepCopy()
}

// fitPodResources makes room for the proxy in a pod that sets resources for the pod as a whole
// (spec.resources): the API server refuses containers that together ask for more than their pod, or
// one that may use more. What the pod sets grows by what the slots ask for, which is returned as
// protocol.Injected records it; a container limit gives way to the pod's.
func fitPodResources(pod *corev1.Pod, ours []corev1.Container) map[string]string {
	whole := pod.Spec.Resources
	if whole == nil {
		return nil
	}
	added := map[string]string{}
	for _, list := range []corev1.ResourceList{whole.Requests, whole.Limits} {
		for name, q := range list {
			var more resource.Quantity
			for _, c := range ours {
				if c.Name == names.ContainerSlotA || c.Name == names.ContainerSlotB { // the others end before the application starts
					more.Add(c.Resources.Requests[name])
				}
			}
			if more.IsZero() {
				continue
			}
			q.Add(more)
			list[name], added[string(name)] = q, more.String()
		}
	}
	for i := range ours {
		for name := range whole.Limits {
			delete(ours[i].Resources.Limits, name)
		}
		if len(ours[i].Resources.Limits) == 0 {
			ours[i].Resources.Limits = nil
		}
	}
	return added
}
