// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// Selection says which namespaces are meshed. The zero value takes those that say so themselves.
type Selection struct {
	// Selector adds namespaces to those with the label names.LabelInject; nil adds none.
	Selector labels.Selector
	// Never holds namespaces that are not meshed whatever they say.
	Never []string
}

// SelectionFrom reads which namespaces a Mesh takes in; nil is no Mesh. A selector that can't be
// read, which the API server refuses, adds none.
func SelectionFrom(mesh *v1alpha1.Mesh, systemNamespace string) Selection {
	s := Selection{Never: []string{metav1.NamespaceSystem, systemNamespace}}
	if mesh == nil || mesh.Spec.Injection.NamespaceSelector == nil {
		return s
	}
	if selector, err := metav1.LabelSelectorAsSelector(mesh.Spec.Injection.NamespaceSelector); err == nil {
		s.Selector = selector
	}
	return s
}

// Active is the Mesh in effect: the oldest, of several of the same age the first by name; nil without one.
func Active(meshes []*v1alpha1.Mesh) *v1alpha1.Mesh {
	if len(meshes) == 0 {
		return nil
	}
	return slices.MinFunc(meshes, func(a, b *v1alpha1.Mesh) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
}

// NamespaceFrom trims a namespace and decides whether it is meshed.
func NamespaceFrom(ns *corev1.Namespace, s Selection) model.Namespace {
	return s.judge(model.Namespace{Name: ns.Name, Labels: labelsFrom(ns.Labels)})
}

// judge sets Meshed. The namespace's own label wins over the Mesh's selector.
func (s Selection) judge(ns model.Namespace) model.Namespace {
	ns.Meshed = false
	if slices.Contains(s.Never, ns.Name) {
		return ns
	}
	set := make(labels.Set, len(ns.Labels))
	for _, l := range ns.Labels {
		set[l.Name] = l.Value
	}
	if own, says := set[names.LabelInject]; says {
		ns.Meshed = own == names.InjectEnabled
		return ns
	}
	ns.Meshed = s.Selector != nil && s.Selector.Matches(set)
	return ns
}

func labelsFrom(set map[string]string) []model.Label {
	if len(set) == 0 {
		return nil
	}
	out := make([]model.Label, 0, len(set))
	for k, v := range set {
		out = append(out, model.Label{Name: k, Value: v})
	}
	slices.SortFunc(out, func(a, b model.Label) int { return strings.Compare(a.Name, b.Name) })
	return out
}
