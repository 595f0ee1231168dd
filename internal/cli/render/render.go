// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"bytes"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tulle.dev/tulle/internal/controlplane/inject"
)

// Options are what the file does not say.
type Options struct {
	Settings inject.Settings
	// Namespace is that of objects which name none.
	Namespace string
	// ProbeToken returns the token for the paths of an object's probes (inject.Settings). If nil, it is
	// random, and a file that was not injected before comes out with another one each time.
	ProbeToken func(object string) string
	// Labels returns the labels of a namespace that is not in the file.
	Labels func(namespace string) (map[string]string, error)
}

// Note is what happened to one pod, or to the pods of one template.
type Note struct {
	Object   string `json:"object"` // "Deployment shop/web", or "document 3 (line 40)"
	Injected bool   `json:"injected"`
	// Removed: it got no proxy, and lost that of another pod.
	Removed  bool     `json:"removed,omitempty"`
	Refused  string   `json:"refused,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Problem is why it could not be looked at.
	Problem string `json:"problem,omitempty"`
}

// File returns a file of YAML or JSON documents with the pods injected that the webhook would inject, and
// a note for each object that holds a pod. What is not injected comes out byte for byte as it was, be it
// refused, of a kind without a pod, or unreadable.
func File(in []byte, o Options) ([]byte, []Note) {
	documents := split(in)
	known := map[string]map[string]string{}
	for _, d := range documents {
		for _, u := range d.objects() {
			if u.GroupVersionKind().GroupKind() == (schema.GroupKind{Kind: "Namespace"}) {
				known[u.GetName()] = u.GetLabels()
			}
		}
	}
	var notes []Note
	var out bytes.Buffer
	for i, d := range documents {
		if d.problem != nil {
			notes = append(notes, Note{Object: fmt.Sprintf("document %d (line %d)", i+1, d.line), Problem: d.problem.Error()})
		}
		changed := map[int]bool{}
		for n, u := range d.objects() {
			path, holds := templatePath(u.GroupVersionKind().GroupKind())
			if !holds {
				continue
			}
			note := o.object(u, path, known)
			notes = append(notes, note)
			if note.Injected || note.Removed {
				changed[n] = true
			}
		}
		text, err := d.write(changed)
		if err != nil { // a pod that can be read can be written
			notes = append(notes, Note{Object: fmt.Sprintf("document %d (line %d)", i+1, d.line), Problem: err.Error()})
			text = d.text
		}
		out.Write(text)
	}
	return out.Bytes(), notes
}

// templatePath is where a kind holds its pod; empty for a Pod, which is one. Kinds of other groups that
// have the same name are none of these.
func templatePath(kind schema.GroupKind) ([]string, bool) {
	switch kind.String() {
	case "Pod":
		return nil, true
	case "Deployment.apps", "StatefulSet.apps", "DaemonSet.apps", "ReplicaSet.apps", "ReplicationController", "Job.batch":
		return []string{"spec", "template"}, true
	case "CronJob.batch":
		return []string{"spec", "jobTemplate", "spec", "template"}, true
	}
	return nil, false
}

// object injects the pod in u, in place; unless the note says that it is changed, u stays as it was.
func (o Options) object(u *unstructured.Unstructured, path []string, known map[string]map[string]string) Note {
	namespace := u.GetNamespace()
	if namespace == "" {
		namespace = o.Namespace
	}
	name := u.GetName()
	if name == "" {
		name = u.GetGenerateName() + "*"
	}
	note := Note{Object: u.GetKind() + " " + namespace + "/" + name}
	labels, there := known[namespace]
	if !there {
		found, err := o.Labels(namespace)
		if err != nil {
			note.Problem = fmt.Sprintf("read namespace %s: %v", namespace, err)
			return note
		}
		labels = found
	}
	template, there, err := unstructured.NestedMap(u.Object, path...)
	if err != nil || !there {
		note.Problem = "it has no pod template at " + strings.Join(path, ".")
		return note
	}
	pod := new(corev1.Pod)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, pod); err != nil {
		note.Problem = fmt.Sprintf("read its pod: %v", err)
		return note
	}
	settings := o.Settings
	if settings.ProbeToken = inject.NewProbeToken(); o.ProbeToken != nil {
		settings.ProbeToken = o.ProbeToken(note.Object)
	}
	result, refusal := inject.Pod(pod, inject.NamespaceFacts{Name: namespace, Labels: labels}, settings)
	if refusal != nil {
		note.Refused = refusal.Message()
		return note
	}
	note.Warnings = result.Warnings
	if result.Pod == nil {
		return note
	}
	if template, err = inject.Apply(template, pod, result.Pod); err != nil {
		note.Problem = err.Error()
		return note
	}
	if len(path) == 0 {
		u.Object = template
	} else if err := unstructured.SetNestedMap(u.Object, template, path...); err != nil {
		note.Problem = fmt.Sprintf("write its pod: %v", err)
		return note
	}
	note.Injected, note.Removed = !result.Removed, result.Removed
	return note
}
