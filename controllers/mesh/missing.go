// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/missing"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/pages"
)

// lookedFor is what was found when pods without a proxy were looked for last. Only one round runs at a time.
type lookedFor struct {
	at   time.Time
	spec int64 // the Mesh's generation: who asks for a proxy hangs from it
	pods []missing.Pod
}

// lookAtMissing looks for pods that ask for a proxy and have none. They are many in a cluster that is
// meshed in part, and not watched; so it looks now and then.
func (r *Reconciler) lookAtMissing(ctx context.Context, m *v1alpha1.Mesh, o *plan.Observed) error {
	if !m.DeletionTimestamp.IsZero() {
		return nil
	}
	now := r.Now()
	if r.without != nil && r.without.spec == m.Generation && now.Sub(r.without.at) < missing.Every {
		o.Missing = plan.Missing{Pods: r.without.pods}
		return nil
	}
	selector, err := selectorOf(m)
	if err != nil {
		return nil //nolint:nilerr // the condition Valid tells it
	}
	namespaces := &metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := r.Cache.List(ctx, namespaces); err != nil {
		return fmt.Errorf("list Namespaces: %w", err)
	}
	of := map[string]labels.Set{}
	for _, n := range namespaces.Items {
		of[n.Name] = n.Labels
	}
	where, err := r.suspects(ctx, of, selector)
	if err != nil {
		return err
	}
	var found []missing.Pod
	for namespace := range where {
		in := missing.In(of[namespace], selector, r.Namespace)
		err := r.eachPods(ctx, in.Add, client.InNamespace(namespace))
		if err != nil {
			return fmt.Errorf("list Pods of namespace %s: %w", namespace, err)
		}
		found = append(found, in.Pods()...)
	}
	r.without = &lookedFor{at: now, spec: m.Generation, pods: found}
	o.Missing = plan.Missing{Pods: found, Fresh: true}
	return nil
}

// suspects are the namespaces with pods that may lack a proxy, going by metadata alone.
func (r *Reconciler) suspects(ctx context.Context, of map[string]labels.Set, selector labels.Selector) (map[string]bool, error) {
	without, err := labels.Parse("!" + names.LabelProxy + "," + names.LabelInject + "!=" + names.InjectDisabled)
	if err != nil {
		return nil, fmt.Errorf("parse a selector of pods: %w", err)
	}
	running := fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	)
	out := map[string]bool{}
	fresh := func() *metav1.PartialObjectMetadataList {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
		return list
	}
	err = pages.Each(ctx, r.Live, fresh, func(list *metav1.PartialObjectMetadataList) error {
		for _, p := range list.Items {
			if missing.Asks(p.Namespace, p.Labels, of[p.Namespace], selector, r.Namespace) {
				out[p.Namespace] = true
			}
		}
		return nil
	}, client.MatchingLabelsSelector{Selector: without}, client.MatchingFieldsSelector{Selector: running})
	if err != nil {
		return nil, fmt.Errorf("list Pods without a proxy: %w", err)
	}
	return out, nil
}

// eachPods calls use with some pods after the others. What use keeps of them must be small.
func (r *Reconciler) eachPods(ctx context.Context, use func([]corev1.Pod), options ...client.ListOption) error {
	return pages.Each(ctx, r.Live, func() *corev1.PodList { return &corev1.PodList{} }, func(list *corev1.PodList) error {
		use(list.Items)
		return nil
	}, options...)
}

// selectorOf is the Mesh's selector of namespaces; nil: there is none.
func selectorOf(m *v1alpha1.Mesh) (labels.Selector, error) {
	if m.Spec.Injection.NamespaceSelector == nil {
		return nil, nil
	}
	return metav1.LabelSelectorAsSelector(m.Spec.Injection.NamespaceSelector)
}
