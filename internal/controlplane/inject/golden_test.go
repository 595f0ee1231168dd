// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/slots"
	"tulle.dev/tulle/internal/testing/golden"
)

// input is in.yaml: everything a case depends on.
type input struct {
	Namespace NamespaceFacts `json:"namespace"`
	Settings  struct {
		Namespaces  string                       `json:"namespaces"`
		Annotations []string                     `json:"annotations"`
		Resources   *corev1.ResourceRequirements `json:"resources"`
	} `json:"settings"`
	Pod *corev1.Pod `json:"pod"`
}

// output is out.yaml.
type output struct {
	Warnings []string    `json:"warnings,omitempty"`
	Pod      *corev1.Pod `json:"pod,omitempty"`
}

// testToken is the random part of the paths of probes.
const testToken = "000102030405060708090a0b0c0d0e0f"

func testSettings() Settings {
	return Settings{
		Image: "registry.example/tulle-proxy:0.1.0", Version: "0.1.0", Revision: "0-1-0",
		SystemNamespace: "tulle-system", TrustDomain: "cluster.local",
		ControlPlaneHost: slots.ControlPlaneHost("tulle-controlplane", "tulle-system"),
		LingerSeconds:    lingerSeconds,
		ProbeToken:       testToken,
	}
}

func parse(t testing.TB, b []byte) (*corev1.Pod, NamespaceFacts, Settings) {
	t.Helper()
	var in input
	if err := yaml.UnmarshalStrict(b, &in); err != nil {
		t.Fatal(err)
	}
	s := testSettings()
	s.Annotations = in.Settings.Annotations
	if in.Settings.Resources != nil {
		s.Resources = *in.Settings.Resources
	}
	if in.Settings.Namespaces != "" {
		var err error
		if s.Namespaces, err = labels.Parse(in.Settings.Namespaces); err != nil {
			t.Fatal(err)
		}
	}
	return in.Pod, in.Namespace, s
}

// load reads the input of one case.
func load(t testing.TB, name string) (*corev1.Pod, NamespaceFacts, Settings) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + "/in.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, b)
}

// TestGolden compares each case with what it must become: out.yaml or refusal.txt, never both. For
// each it also proves that the argument is left alone, that a second pass changes nothing, and that
// the patch leads where the function does.
func TestGolden(t *testing.T) {
	golden.Cases(t, "testdata", func(t *testing.T, c *golden.Case) {
		pod, ns, s := parse(t, c.Input(t))
		before := pod.DeepCopy()
		result, refusal := Pod(pod, ns, s)
		if d := cmp.Diff(before, pod); d != "" {
			t.Errorf("the argument changed: %s", d)
		}
		if refusal != nil {
			c.Compare(t, "refusal.txt", []byte(strings.Join(refusal.Problems, "\n")+"\n"))
			return
		}
		out, err := yaml.Marshal(output{result.Warnings, result.Pod})
		if err != nil {
			t.Fatal(err)
		}
		c.Compare(t, "out.yaml", out)
		if result.Pod != nil {
			again(t, result.Pod, ns, s)
			applied(t, pod, result.Pod)
		}
	})
}

// again proves inject(p) == p for an injected p.
func again(t *testing.T, injected *corev1.Pod, ns NamespaceFacts, s Settings) {
	t.Helper()
	twice, refusal := Pod(injected, ns, s)
	if refusal != nil {
		t.Fatalf("an injected pod is refused: %s", refusal.Message())
	}
	if !reflect.DeepEqual(injected, twice.Pod) {
		t.Errorf("a second pass changes the pod: %s", cmp.Diff(injected, twice.Pod))
	}
}
