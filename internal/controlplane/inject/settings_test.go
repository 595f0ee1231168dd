// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// TestSettingsFrom: what a Mesh says arrives; what it does not say has the meaning of its default.
func TestSettingsFrom(t *testing.T) {
	m := &v1alpha1.Mesh{}
	m.Spec.TrustDomain = "mesh.example"
	s, err := SettingsFrom(m, "img", "0.1.0", "0-1-0", "sys")
	if err != nil {
		t.Fatal(err)
	}
	if s.Namespaces != nil || s.Annotations != nil {
		t.Errorf("want nobody selected and everything allowed, got %v, %v", s.Namespaces, s.Annotations)
	}
	if s.TrustDomain != "mesh.example" || s.ControlPlaneHost != "tulle-controlplane.sys.svc" || s.Image != "img" || s.SystemNamespace != "sys" {
		t.Errorf("got %+v", s)
	}

	m.Spec.Injection.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
	m.Spec.Injection.AllowedAnnotations = &[]v1alpha1.WorkloadAnnotation{}
	if s, err = SettingsFrom(m, "img", "0.1.0", "0-1-0", "sys"); err != nil {
		t.Fatal(err)
	}
	if !s.Namespaces.Matches(labels.Set{"team": "a"}) || s.Namespaces.Matches(labels.Set{"team": "b"}) {
		t.Errorf("selector is %v", s.Namespaces)
	}
	if s.Annotations == nil || len(s.Annotations) != 0 {
		t.Errorf("an empty list must allow none, got %v", s.Annotations)
	}
	m.Spec.Injection.NamespaceSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Nonsense"}}
	if _, err := SettingsFrom(m, "img", "0.1.0", "0-1-0", "sys"); err == nil {
		t.Error("a selector that means nothing was taken")
	}
}

// TestClosedListIsTheAPIs: the annotations that the API lets a Mesh allow are those that injection reads.
func TestClosedListIsTheAPIs(t *testing.T) {
	src, err := os.ReadFile("../../../api/v1alpha1/spec.go")
	if err != nil {
		t.Fatal(err)
	}
	var enum []string
	for line := range strings.Lines(string(src)) {
		if list, ok := strings.CutPrefix(strings.TrimSpace(line), "// +kubebuilder:validation:Enum="+names.Group+"/"); ok {
			enum = strings.Split(names.Group+"/"+list, ";")
		}
	}
	if d := cmp.Diff(Keys(), enum); d != "" {
		t.Error(d)
	}
}
