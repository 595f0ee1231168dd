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
