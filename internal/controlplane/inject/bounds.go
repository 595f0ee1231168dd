// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"tulle.dev/tulle/internal/names"
)

// Bounds are what a namespace's owner allows the containers in it.
type Bounds struct {
	// Ranges are the namespace's LimitRanges, Quotas its ResourceQuotas.
	Ranges []corev1.LimitRange
	Quotas []corev1.ResourceQuota
}

// fit moves what one of our containers asks for into the LimitRanges' bounds for containers, which the
// API server refuses pods by. A default limit is set here, as the API server would later, because the
// request must not be above it, nor too far below (maxLimitRequestRatio). Where the bounds leave no other
// way the request rises, since the slots need their limit once they serve.
func (b Bounds) fit(c *corev1.Container) {
	for _, r := range b.Ranges {
		for _, item := range r.Spec.Limits {
			if item.Type != corev1.LimitTypeContainer {
				continue
			}
			for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				fitOne(c, item, name)
			}
		}
	}
}

func fitOne(c *corev1.Container, item corev1.LimitRangeItem, name corev1.ResourceName) {
	least, hasLeast := item.Min[name]
	most, hasMost := item.Max[name]
	limit, limited := c.Resources.Limits[name]
	request, asked := c.Resources.Requests[name]
	if !asked {
		if request, asked = item.DefaultRequest[name]; !asked && !limited {
			return // the API server's defaults
		}
	}
	if !limited {
		if limit, limited = item.Default[name]; !limited {
			limit, limited = most, hasMost // the API server's default of the default
		}
	}
	if limited {
		if hasMost && limit.Cmp(most) > 0 {
			limit = most
		}
		if hasLeast && limit.Cmp(least) < 0 {
			limit = least
		}
		set(&c.Resources.Limits, name, limit)
	}
	if !asked {
		return
	}
	if hasLeast && request.Cmp(least) < 0 {
		request = least
	}
	if ratio, ok := item.MaxLimitRequestRatio[name]; ok && limited {
		if fair := divided(limit, ratio, name); request.Cmp(fair) < 0 {
			request = fair
		}
	}
	if limited && request.Cmp(limit) > 0 {
		request = limit
	}
	set(&c.Resources.Requests, name, request)
}

// divided is the least request that a limit is at most ratio times of, rounded up.
func divided(limit, ratio resource.Quantity, name corev1.ResourceName) resource.Quantity {
	by := max(ratio.MilliValue(), 1)
	if name == corev1.ResourceCPU {
		return *resource.NewMilliQuantity((limit.MilliValue()*1000+by-1)/by, limit.Format)
	}
	whole, rest := limit.Value()/by, limit.Value()%by // the product may not fit
	return *resource.NewQuantity(whole*1000+(rest*1000+by-1)/by, limit.Format)
}

// uncounted says which limits a ResourceQuota counts that our containers don't have. The API server
// would refuse the pod, in words that don't say where the proxy's limit comes from.
func (b Bounds) uncounted(ours []corev1.Container) []string {
	var out []string
	for _, q := range b.Quotas {
		if len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
			continue // it may count other pods only: the API server knows
		}
		for _, k := range []struct {
			counted    corev1.ResourceName
			name       corev1.ResourceName
			annotation string
		}{
			{corev1.ResourceLimitsCPU, corev1.ResourceCPU, names.AnnotationProxyCPULimit},
			{corev1.ResourceLimitsMemory, corev1.ResourceMemory, names.AnnotationProxyMemoryLimit},
		} {
			_, counted := q.Spec.Hard[k.counted]
			if counted && slices.ContainsFunc(ours, func(c corev1.Container) bool { return c.Resources.Limits.Name(k.name, resource.DecimalSI).IsZero() }) {
				out = append(out, fmt.Sprintf("ResourceQuota %s of namespace %s counts %s, and the proxy has no such limit: set the pod's annotation %s, "+
					"or spec.proxy.resources.limits of the Mesh, or a default in a LimitRange of the namespace", q.Name, q.Namespace, k.counted, k.annotation))
			}
		}
	}
	return out
}

// exceeded says which LimitRanges for whole pods the pod keeps to by itself and not with our containers.
// The API server would refuse it with a sum that is not in the pod's manifest. Containers that end before
// the application starts are left out, so a sum here is never above the API server's.
func (b Bounds) exceeded(spec corev1.PodSpec, ours []corev1.Container) []string {
	running := append(sidecars(spec.InitContainers), spec.Containers...)
	var out []string
	for _, r := range b.Ranges {
		for _, item := range r.Spec.Limits {
			if item.Type != corev1.LimitTypePod {
				continue
			}
			for _, k := range perPod {
				most, bounded := item.Max[k.name]
				without, with := total(running, k), total(append(sidecars(ours), running...), k)
				if bounded && without.Cmp(most) <= 0 && with.Cmp(most) > 0 {
					out = append(out, fmt.Sprintf("LimitRange %s of namespace %s allows a pod %s of %s; the %s of this one's containers are %s, and %s with the proxy: "+
						"lower the proxy's with the pod's annotation %s, or raise the LimitRange",
						r.Name, r.Namespace, most.String(), k.name, k.what, without.String(), with.String(), k.annotation))
				}
			}
		}
	}
	return out
}

// perPod are the sums that a LimitRange for whole pods bounds.
var perPod = []podSum{
	{corev1.ResourceCPU, "requests", names.AnnotationProxyCPURequest, requestsOf},
	{corev1.ResourceCPU, "limits", names.AnnotationProxyCPULimit, limitsOf},
	{corev1.ResourceMemory, "requests", names.AnnotationProxyMemoryRequest, requestsOf},
	{corev1.ResourceMemory, "limits", names.AnnotationProxyMemoryLimit, limitsOf},
}

type podSum struct {
	name             corev1.ResourceName
	what, annotation string
	of               func(corev1.Container) corev1.ResourceList
}

func requestsOf(c corev1.Container) corev1.ResourceList { return c.Resources.Requests }

func limitsOf(c corev1.Container) corev1.ResourceList { return c.Resources.Limits }

func total(containers []corev1.Container, k podSum) resource.Quantity {
	var sum resource.Quantity
	for _, c := range containers {
		sum.Add(k.of(c)[k.name])
	}
	return sum
}

// sidecars are the init containers that run beside the application.
func sidecars(init []corev1.Container) []corev1.Container {
	var out []corev1.Container
	for _, c := range init {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			out = append(out, c)
		}
	}
	return out
}
