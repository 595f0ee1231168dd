// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package preflight

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// full says which quotas have no room for the objects. A quota with scopes counts only some pods, and
// is left to the API server.
func full(quotas []corev1.ResourceQuota, added []*unstructured.Unstructured) []string {
	needs := need(added)
	var out []string
	for _, q := range quotas {
		if len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
			continue
		}
		var short []string
		for _, name := range slices.Sorted(maps.Keys(q.Status.Hard)) {
			wanted, counts := needs[name]
			left := q.Status.Hard[name].DeepCopy()
			left.Sub(q.Status.Used[name])
			if counts && wanted.Cmp(left) > 0 {
				short = append(short, fmt.Sprintf("%s of %s, where %s is left", wanted.String(), name, left.String()))
			}
		}
		if len(short) > 0 {
			out = append(out, fmt.Sprintf("ResourceQuota %s/%s has no room for a second control plane, which needs %s: raise it until the upgrade has ended", q.Namespace, q.Name, strings.Join(short, ", ")))
		}
	}
	return out
}

// need is what objects use up, by the names that a ResourceQuota has for it.
func need(added []*unstructured.Unstructured) map[corev1.ResourceName]resource.Quantity {
	out := map[corev1.ResourceName]resource.Quantity{}
	add := func(name string, q resource.Quantity) {
		sum := out[corev1.ResourceName(name)]
		sum.Add(q)
		out[corev1.ResourceName(name)] = sum
	}
	one := *resource.NewQuantity(1, resource.DecimalSI)
	for _, o := range added {
		if o.GetNamespace() == "" {
			continue
		}
		plural, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		add("count/"+plural.GroupResource().String(), one)
		if plural.Group == "" {
			add(plural.Resource, one)
		}
		if o.GetKind() != "Deployment" {
			continue
		}
		add("count/replicasets.apps", one)
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil || d.Spec.Replicas == nil {
			continue
		}
		for range *d.Spec.Replicas {
			add("pods", one)
			add("count/pods", one)
			for _, c := range d.Spec.Template.Spec.Containers {
				for name, q := range c.Resources.Requests {
					add("requests."+string(name), q)
					add(string(name), q)
				}
				for name, q := range c.Resources.Limits {
					add("limits."+string(name), q)
				}
			}
		}
	}
	return out
}
