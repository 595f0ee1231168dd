// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package unmesh

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// Seen is what a plan is made of.
type Seen struct {
	// Mesh is the active one; nil: there is none.
	Mesh *v1alpha1.Mesh
	// Pods are those that have the container of a sidecar and have not ended.
	Pods []Pod
	// Labelled are pods with the label of a proxy and without its container, "NAMESPACE/NAME": anyone who may create pods
	// may set it. Others are how many pods have a proxy that is not a sidecar.
	Labelled []string
	Others   int
	// Workloads are those that own some of these pods.
	Workloads []Workload
	// Namespaces are all there are.
	Namespaces []Namespace
	// Gateways are those whose class is Tulle's, Routes those that the mesh carries out, "KIND NAMESPACE/NAME".
	Gateways, Routes []string
}

// Pod carries a sidecar.
type Pod struct {
	Namespace, Name string
	// Owner is the workload that replaces it; the zero value: nobody does.
	Owner Ref
	// OwnedBy is who owns a pod that no workload replaces, "Job/backup"; empty: nobody.
	OwnedBy string
	// Orphan: OwnedBy does not exist.
	Orphan bool
}

// Ref names a workload.
type Ref struct {
	Kind      string `json:"kind"` // Deployment, StatefulSet or DaemonSet
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String is how messages call it.
func (r Ref) String() string { return r.Kind + " " + r.Namespace + "/" + r.Name }

// Workload is a Deployment, StatefulSet or DaemonSet with proxies.
type Workload struct {
	Ref
	Replicas int32
	// Fixed: the label about injection is part of its selector.
	Fixed bool
	// Stuck is why a change of the template replaces no pods; empty: it does.
	Stuck string
}

// Namespace may ask for proxies.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// asks tells whether pods of a namespace get proxies if they say nothing themselves.
func (n Namespace) asks(m *v1alpha1.Mesh) bool {
	if own, says := n.Labels[names.LabelInject]; says {
		return own == names.InjectEnabled
	}
	if m == nil || m.Spec.Injection.NamespaceSelector == nil {
		return false
	}
	s, err := metav1.LabelSelectorAsSelector(m.Spec.Injection.NamespaceSelector)
	return err == nil && s.Matches(labels.Set(n.Labels))
}

// asking are the names of the namespaces that ask, sorted.
func (s Seen) asking() []string {
	var out []string
	for _, n := range s.Namespaces {
		if n.asks(s.Mesh) {
			out = append(out, n.Name)
		}
	}
	slices.Sort(out)
	return out
}
