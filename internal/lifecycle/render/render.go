// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/names"
)

// Input is all that the objects of a Mesh depend on.
type Input struct {
	Mesh    *v1alpha1.Mesh
	Release release.Release
	// Namespace is where the control plane and its certificates live.
	Namespace string
	// Anchors are the certificates that the control plane's chain must end in, PEM; empty until there are any.
	Anchors string
	// Replicas of the control plane; 0: as spec.controlPlane.replicas says.
	Replicas int32
	// References tells whether anything refers to Secrets or ConfigMaps that the control plane has to read. Only
	// then is it given the right to, if it does not watch them all (release.Release.WatchesSecrets).
	References bool
	// Led says where the Service leads. Each value has the API server connect to the webhook again: it
	// otherwise keeps its connection to a replica that the Service does not lead to any more. Only read by
	// Webhook.
	Led string
	// Authorities are only read by Certificates.
	Authorities Authorities
}

// Object is what is applied: exactly the fields Tulle has an opinion on.
type Object = *unstructured.Unstructured

// labels are on every object of a Mesh.
func (in Input) labels() map[string]string {
	return map[string]string{
		names.LabelManagedBy: names.Operator,
		names.LabelMesh:      in.Mesh.Name,
	}
}

// revisioned are the labels of objects that belong to one revision.
func (in Input) revisioned() map[string]string {
	l := in.labels()
	l[names.LabelApp] = names.ControlPlaneService
	l[names.LabelRevision] = in.Release.Revision()
	return l
}

// selector picks the control-plane pods of this revision.
func (in Input) selector() map[string]string {
	return map[string]string{
		names.LabelApp:      names.ControlPlaneService,
		names.LabelRevision: in.Release.Revision(),
	}
}

// meta is the metadata of a namespaced object of this revision.
func (in Input) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:      names.ControlPlaneDeployment(in.Release.Revision()),
		Namespace: in.Namespace,
		Labels:    in.revisioned(),
	}
}

// object turns a typed object into the fields to apply. What the Go types can't leave out (status,
// empty creation timestamps) is nobody's opinion and is taken away.
func object(apiVersion, kind string, typed any) Object {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		// Only Kubernetes' own types come here, filled in by this package.
		panic("render: " + err.Error())
	}
	u := &unstructured.Unstructured{Object: fields}
	unstructured.RemoveNestedField(u.Object, "status")
	dropTimestamps(u.Object)
	u.SetAPIVersion(apiVersion)
	u.SetKind(kind)
	return u
}

// dropTimestamps removes null creationTimestamps at any depth.
func dropTimestamps(m map[string]any) {
	if v, ok := m["creationTimestamp"]; ok && v == nil {
		delete(m, "creationTimestamp")
	}
	for _, v := range m {
		if sub, ok := v.(map[string]any); ok {
			dropTimestamps(sub)
		}
	}
}

// merged lays maps over each other; later ones win.
func merged(list ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range list {
		maps.Copy(out, m)
	}
	return out
}

func ptr[T any](v T) *T { return &v }
