// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package inject asks a real API server what it thinks of injected pods.
package inject

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/controlplane/inject"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/slots"
	"tulle.dev/tulle/internal/testing/cluster"
)

const cases = "../../../internal/controlplane/inject/testdata"

// TestAccepted: the API server's validation takes every pod of the golden cases as it comes out of
// injection, and a second pass over what the API server made of it (its defaults, its ServiceAccount
// admission) changes nothing but what the proxy must not have, the application's API token.
func TestAccepted(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "inject", "pod-security.kubernetes.io/enforce=privileged")
	c.MustApply(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: %s}}", ns)
	dirs, err := filepath.Glob(cases + "/*/out.yaml")
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for _, path := range dirs {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Warnings []string    `json:"warnings"`
			Pod      *corev1.Pod `json:"pod"`
		}
		if err := yaml.UnmarshalStrict(b, &out); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if out.Pod == nil {
			continue
		}
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			pod := out.Pod
			pod.Namespace = ns
			// A mesh in this cluster is not to meddle.
			delete(pod.Labels, names.LabelInject)
			pod.Labels[names.LabelProxy] = names.KindGateway
			if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
				t.Fatalf("refused: %v", err)
			}
			pod.Labels[names.LabelProxy] = names.KindSidecar
			accepted++
			facts := inject.NamespaceFacts{Name: ns, Labels: map[string]string{names.LabelInject: names.InjectEnabled}}
			twice, refusal := inject.Pod(pod, facts, settings(pod))
			if refusal != nil {
				t.Fatal(refusal.Message())
			}
			withoutAPIToken(pod)
			if d := cmp.Diff(pod, twice.Pod); d != "" {
				t.Errorf("a second pass changes the pod: %s", d)
			}
		})
	}
	if accepted < 15 {
		t.Errorf("only %d pods were tried", accepted)
	}
}

// withoutAPIToken takes away the mounts that ServiceAccount admission adds to the first four init
// containers, which are Tulle's.
func withoutAPIToken(pod *corev1.Pod) {
	for i := range pod.Spec.InitContainers[:4] {
		c := &pod.Spec.InitContainers[i]
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
			return m.MountPath == "/var/run/secrets/kubernetes.io/serviceaccount"
		})
		if len(c.VolumeMounts) == 0 {
			c.VolumeMounts = nil
		}
	}
}

// settings are those that the golden cases were made with; the proxy's resources, which some cases
// vary, are read back from the slot (a slot asks for half).
func settings(pod *corev1.Pod) inject.Settings {
	s := inject.Settings{
		Image: "registry.example/tulle-proxy:0.1.0", Version: "0.1.0", Revision: "0-1-0",
		SystemNamespace: names.SystemNamespace, TrustDomain: "cluster.local",
		ControlPlaneHost: slots.ControlPlaneHost(names.ControlPlaneService, names.SystemNamespace),
		LingerSeconds:    5,
	}
	for _, c := range pod.Spec.InitContainers {
		if c.Name != names.ContainerSlotA || pod.Spec.Resources != nil {
			continue
		}
		s.Resources = *c.Resources.DeepCopy()
		for name, q := range s.Resources.Requests {
			if limit, ok := s.Resources.Limits[name]; !ok || limit.Cmp(q) != 0 {
				q.Add(q)
				s.Resources.Requests[name] = q
			}
		}
	}
	return s
}

// TestRefusedWithoutInjectionsHelp: the API server refuses a namespace-wide Pod Security level that
// injection would violate, which is why injection refuses first and says what to do.
func TestRefusedWithoutInjectionsHelp(t *testing.T) {
	c := cluster.Connect(t)
	facts := inject.NamespaceFacts{Labels: map[string]string{names.LabelInject: names.InjectEnabled}}
	for _, level := range []string{"baseline", "restricted"} {
		facts.Name = c.Namespace(t, "inject-"+level, "pod-security.kubernetes.io/enforce="+level)
		c.MustApply(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: %s}}", facts.Name)
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: facts.Name},
			Spec:       corev1.PodSpec{ServiceAccountName: "web", Containers: []corev1.Container{{Name: "app", Image: "i"}}},
		}
		r, refusal := inject.Pod(pod, facts, settings(pod))
		if refusal != nil {
			t.Fatal(refusal.Message())
		}
		r.Pod.Labels[names.LabelProxy] = names.KindGateway // a mesh in this cluster is not to meddle
		if err := c.Create(t.Context(), r.Pod, client.DryRunAll); err == nil {
			t.Errorf("%s lets tulle-init through: the refusal is not needed", level)
		}
		facts.Labels["pod-security.kubernetes.io/enforce"] = level
		if _, refusal := inject.Pod(pod, facts, settings(pod)); refusal == nil {
			t.Errorf("%s: injection does not refuse", level)
		}
		delete(facts.Labels, "pod-security.kubernetes.io/enforce")
	}
}
