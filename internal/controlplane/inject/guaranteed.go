// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// What a proxy gets at least in a Guaranteed pod, unless the pod's annotations or a lower limit of the
// Mesh say otherwise: what it asks for elsewhere is less than it may use there.
const (
	pinnedMilliCPU = 200
	pinnedMemory   = 256 << 20
)

// guaranteed tells whether the pod, without our containers, is of the QoS class Guaranteed: every
// container has limits of CPU and memory, and its requests equal them. A request that is absent is the
// limit, by the API server's default. A pod with resources of its own (spec.resources) has its class by
// those, and keeps it (fitPodResources).
//
// Only this class gets CPUs and memory of its own from the kubelet's CPU and memory managers. A slot
// asks for no whole number of CPUs by default, so it stays in the shared pool.
func guaranteed(pod *corev1.Pod) bool {
	all := slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)
	return pod.Spec.Resources == nil && len(all) > 0 &&
		!slices.ContainsFunc(all, func(c corev1.Container) bool { return !pinned(c.Resources) })
}

// pinned tells whether a container's requests of CPU and memory equal its limits.
func pinned(r corev1.ResourceRequirements) bool {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		limit := r.Limits[name]
		request, asked := r.Requests[name]
		if limit.Sign() <= 0 || asked && request.Cmp(limit) != 0 {
			return false
		}
	}
	return true
}

// pin sets the proxy's requests and limits to one amount, so that the pod stays Guaranteed: the limit of
// the annotations, or else the request of the annotations, or else the request of the Mesh, which is
// raised to what a proxy needs and not above the limit of the Mesh.
func pin(r corev1.ResourceRequirements, a Annotations) corev1.ResourceRequirements {
	out := *r.DeepCopy()
	for _, k := range []struct {
		name           corev1.ResourceName
		request, limit *resource.Quantity
		least          resource.Quantity
	}{
		{corev1.ResourceCPU, a.CPURequest, a.CPULimit, *resource.NewMilliQuantity(pinnedMilliCPU, resource.DecimalSI)},
		{corev1.ResourceMemory, a.MemoryRequest, a.MemoryLimit, *resource.NewQuantity(pinnedMemory, resource.BinarySI)},
	} {
		amount := out.Requests[k.name]
		limit, limited := out.Limits[k.name]
		switch {
		case k.limit != nil:
			amount = *k.limit
		case k.request != nil:
			amount = *k.request
		default:
			if amount.Cmp(k.least) < 0 {
				amount = k.least
			}
			if limited && amount.Cmp(limit) > 0 {
				amount = limit
			}
		}
		set(&out.Requests, k.name, amount)
		set(&out.Limits, k.name, amount)
	}
	return out
}
