// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/controlplane/inject"
)

// Options are what the file does not say.
type Options struct {
	Settings inject.Settings
	// Namespace is that of objects which name none.
	Namespace string
	// Labels returns the labels of a namespace that is not in the file.
	Labels func(namespace string) (map[string]string, error)
}

// Note is what happened to one pod, or to the pods of one template.
type Note struct {
	Object   string   `json:"object"` // "Deployment shop/web"
	Injected bool     `json:"injected"`
	Refused  string   `json:"refused,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// File reads YAML documents, injects what the webhook would inject and returns them, with a note
// for each object that holds a pod. A refused one is left as it was.
func File(in []byte, o Options) ([]byte, []Note, error) {
	objects, err := decode(in)
	if err != nil {
		return nil, nil, err
	}
	known := map[string]map[string]string{}
	for _, u := range objects {
		if u.GetKind() == "Namespace" && u.GroupVersionKind().Group == "" {
			known[u.GetName()] = u.GetLabels()
		}
	}
	var notes []Note
	var out bytes.Buffer
	for _, u := range objects {
		path, holds := templatePath(u.GetKind())
		if holds {
			note, err := o.object(u, path, known)
			if err != nil {
				return nil, nil, err
			}
			notes = append(notes, note)
		}
		text, err := yaml.Marshal(u.Object)
		if err != nil {
			return nil, nil, fmt.Errorf("write %s %s: %w", u.GetKind(), u.GetName(), err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes(), notes, nil
}

// decode reads the documents of a file; a List stands for its items.
func decode(in []byte) ([]*unstructured.Unstructured, error) {
	reader := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(in), 4096)
	var out []*unstructured.Unstructured
	for {
		u := new(unstructured.Unstructured)
		err := reader.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read YAML: %w", err)
		}
		switch {
		case len(u.Object) == 0:
		case u.IsList():
			if err := u.EachListItem(func(o runtime.Object) error {
				out = append(out, o.(*unstructured.Unstructured))
				return nil
			}); err != nil {
				return nil, fmt.Errorf("read list: %w", err)
			}
		default:
			out = append(out, u)
		}
	}
}

// templatePath is where a kind holds its pod; empty for a Pod, which is one.
func templatePath(kind string) ([]string, bool) {
	switch kind {
	case "Pod":
		return nil, true
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job":
		return []string{"spec", "template"}, true
	case "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template"}, true
	}
	return nil, false
}

// object injects the pod in u, in place.
func (o Options) object(u *unstructured.Unstructured, path []string, known map[string]map[string]string) (Note, error) {
	namespace := u.GetNamespace()
	if namespace == "" {
		namespace = o.Namespace
	}
	note := Note{Object: u.GetKind() + " " + namespace + "/" + u.GetName()}
	labels, there := known[namespace]
	if !there {
		found, err := o.Labels(namespace)
		if err != nil {
			return note, fmt.Errorf("read namespace %s: %w", namespace, err)
		}
		labels = found
	}
	template, there, err := unstructured.NestedMap(u.Object, path...)
	if err != nil || !there {
		return note, fmt.Errorf("%s has no pod at %v", note.Object, path)
	}
	pod := new(corev1.Pod)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, pod); err != nil {
		return note, fmt.Errorf("read %s: %w", note.Object, err)
	}
	result, refusal := inject.Pod(pod, inject.NamespaceFacts{Name: namespace, Labels: labels}, o.Settings)
	if refusal != nil {
		note.Refused = refusal.Message()
		return note, nil
	}
	note.Warnings = result.Warnings
	if result.Pod == nil {
		return note, nil
	}
	note.Injected = true
	return note, put(u, path, result.Pod)
}

// put writes a pod's metadata and spec back to where they came from.
func put(u *unstructured.Unstructured, path []string, pod *corev1.Pod) error {
	pod.ObjectMeta.CreationTimestamp = metav1.Time{}
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(pod)
	if err != nil {
		return fmt.Errorf("write pod: %w", err)
	}
	unstructured.RemoveNestedField(m, "metadata", "creationTimestamp")
	for _, part := range []string{"metadata", "spec"} {
		if err := unstructured.SetNestedField(u.Object, m[part], append(append([]string{}, path...), part)...); err != nil {
			return fmt.Errorf("write pod: %w", err)
		}
	}
	return nil
}
