// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package backup

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// ReleasesConfigMap says where the images of releases are (docs/guides/install.md).
const ReleasesConfigMap = "tulle-releases"

// XMeshAPI is the API version of XMesh.
const XMeshAPI = "gateway.networking.x-k8s.io/v1alpha1"

// key says which object; an empty name: any.
type key struct{ apiVersion, kind, name string }

func (k key) is(u unstructured.Unstructured) bool {
	return u.GetAPIVersion() == k.apiVersion && u.GetKind() == k.kind && (k.name == "" && u.GetName() != "" || u.GetName() == k.name)
}

// kept are the objects that a backup may have, in the order in which they are put back: the root
// before what hangs from it, and everything before the Mesh, whose operator would make its own.
func kept() []key {
	return []key{
		{"v1", "Secret", names.RootSecret},
		{"v1", "Secret", names.SecondRootSecret},
		{"v1", "Secret", names.IntermediateSecret},
		{"v1", "ConfigMap", names.TrustConfigMap},
		{"v1", "ConfigMap", ReleasesConfigMap},
		{XMeshAPI, "XMesh", names.XMesh},
		{v1alpha1.GroupVersion().String(), "Mesh", ""},
	}
}

// Secrets and ConfigMaps are the names of those in the system namespace that a backup has.
func Secrets() []string { return namesOf("Secret") }

// ConfigMaps are those of Secrets' sort.
func ConfigMaps() []string { return namesOf("ConfigMap") }

func namesOf(kind string) []string {
	var out []string
	for _, k := range kept() {
		if k.kind == kind {
			out = append(out, k.name)
		}
	}
	return out
}

// stripped is an object without what belongs to one cluster.
func stripped(u unstructured.Unstructured) unstructured.Unstructured {
	out := unstructured.Unstructured{Object: map[string]any{}}
	for k, v := range runtime.DeepCopyJSON(u.Object) {
		if k != "metadata" && k != "status" {
			out.Object[k] = v
		}
	}
	out.SetName(u.GetName())
	if l := u.GetLabels(); len(l) > 0 {
		out.SetLabels(l)
	}
	notes := maps.Clone(u.GetAnnotations())
	for _, n := range []string{corev1.LastAppliedConfigAnnotation, names.AnnotationForceDelete, names.AnnotationRotateRoot, names.AnnotationRotateWithout} {
		delete(notes, n)
	}
	if len(notes) > 0 {
		out.SetAnnotations(notes)
	}
	return out
}

// manifest is an object of the core API without what belongs to one cluster. What a Secret holds is
// written as text, for people; all of these Secrets are PEM.
func manifest(o runtime.Object, kind string) (unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return unstructured.Unstructured{}, fmt.Errorf("write %s: %w", kind, err)
	}
	u := stripped(unstructured.Unstructured{Object: content})
	u.SetAPIVersion("v1")
	u.SetKind(kind)
	if s, ok := o.(*corev1.Secret); ok {
		delete(u.Object, "data")
		text := map[string]any{}
		for k, v := range s.Data {
			text[k] = string(v)
		}
		u.Object["stringData"] = text
	}
	return u, nil
}

// secretOf and configMapOf read what manifest wrote.
func secretOf(u unstructured.Unstructured) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, s); err != nil {
		return nil, fmt.Errorf("this backup is damaged: Secret %s: %w", u.GetName(), err)
	}
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	for k, v := range s.StringData {
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
	return s, nil
}

func configMapOf(u unstructured.Unstructured) (*corev1.ConfigMap, error) {
	c := &corev1.ConfigMap{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, c); err != nil {
		return nil, fmt.Errorf("this backup is damaged: ConfigMap %s: %w", u.GetName(), err)
	}
	return c, nil
}

func meshOf(u unstructured.Unstructured) (v1alpha1.Mesh, error) {
	var m v1alpha1.Mesh
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &m); err != nil {
		return m, fmt.Errorf("this backup is damaged: Mesh %s: %w", u.GetName(), err)
	}
	return m, nil
}

// ours tells whether an XMesh is served by Tulle and was written by somebody else than the operator,
// which makes its own where there is none.
func ours(x *unstructured.Unstructured) bool {
	if x == nil {
		return false
	}
	if c, _, _ := unstructured.NestedString(x.Object, "spec", "controllerName"); c != names.ControllerName {
		return false
	}
	for _, f := range x.GetManagedFields() {
		if f.Subresource == "" && f.Manager != names.FieldManager {
			return true
		}
	}
	return false
}

// inNamespace gives an object of the core API its namespace.
func inNamespace(u unstructured.Unstructured, namespace string) unstructured.Unstructured {
	out := *u.DeepCopy()
	if u.GetAPIVersion() == "v1" {
		out.SetNamespace(namespace)
	}
	return out
}
