// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/lifecycle/missing"
	"tulle.dev/tulle/internal/lifecycle/rotation"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
)

// Observed is what is seen of a Mesh in the cluster.
type Observed struct {
	// Namespace is where the control plane lives.
	Namespace string
	// Clock is when all of this could be seen. Its Now is not used.
	Clock upgrade.Clock
	// OldDefinition tells that the API server did not keep all of the status that was written last.
	OldDefinition bool
	// OlderMesh is the name of an older Mesh, which is the active one; empty: this one is.
	OlderMesh string
	// References tells whether something that Tulle serves refers to a Secret or ConfigMap.
	References bool
	// CertManager and GatewayAPI tell whether the kinds of these are installed; XMeshKind that one kind.
	CertManager, GatewayAPI, XMeshKind bool
	// XMesh tells whether the XMesh resource is there; XMeshOurs whether Tulle alone made it.
	XMesh, XMeshOurs bool
	// Certificates are what is seen of cert-manager's work.
	Certificates health.CertificateFacts
	// Rotation is what else is seen of authorities and trust; its Facts and Spread are those here.
	Rotation rotation.Seen
	// SpreadRoots is the bundle in the system namespace's trust ConfigMap.
	SpreadRoots string
	// ServingRevision is the revision that the control plane's Service leads to; empty: no Service.
	ServingRevision string
	// Deployments of the control plane by revision, and their pods.
	Deployments map[string]*appsv1.Deployment
	Pods        map[string][]corev1.Pod
	// Owned are the objects that carry this Mesh's label.
	Owned []Ref
	// Leftovers are further objects to take down with the Mesh: what was made for Gateways, the
	// trust ConfigMaps of all namespaces, the certificates' Secrets.
	Leftovers []Ref
	// Proxies counts pods that carry a proxy.
	Proxies Proxies
	// CPU is what the replicas of the control plane use together, in cores; nil: some replica doesn't tell.
	CPU *float64
	// Missing are pods that ask for a proxy and have none.
	Missing Missing
	// Rollout is looked at while versions differ.
	Rollout Rollout
	// Usage is looked at when the Mesh is being deleted.
	Usage Usage
}

// Proxies counts pods that carry a proxy.
type Proxies struct {
	Total int32
	// ByVersion counts them by the release they carry.
	ByVersion map[string]int32
	// Connected to the control plane; nil: it could not be asked.
	Connected *int32
}

// Missing are the pods that ask for a proxy, can have one, and have none. The zero value: not looked for.
type Missing struct {
	Pods []missing.Pod
	// Fresh: they were looked for just now. Otherwise this is what was found some seconds ago.
	Fresh bool
}

// Usage is who still uses the Mesh: "NAMESPACE/NAME", sorted.
type Usage struct{ Pods, Routes []string }

// Ref names an object to delete. UID guards against deleting its successor; empty: whichever.
type Ref struct {
	schema.GroupVersionKind
	types.NamespacedName
	UID types.UID
	// Deleting tells that it has been deleted already and waits for somebody's finalizer.
	Deleting bool
}

// same tells whether two Refs name the same object, whatever its UID and the version of its kind.
func (r Ref) same(o Ref) bool {
	return r.GroupKind() == o.GroupKind() && r.NamespacedName == o.NamespacedName
}
