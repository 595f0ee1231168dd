// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

func injected(t *testing.T, name string) (*corev1.Pod, NamespaceFacts, Settings) {
	t.Helper()
	pod, ns, s := load(t, name)
	r, refusal := Pod(pod, ns, s)
	if refusal != nil || r.Pod == nil {
		t.Fatalf("%s is not injected: %+v", name, refusal)
	}
	return r.Pod, ns, s
}

func environment(t *testing.T, pod *corev1.Pod, slot, name string) string {
	t.Helper()
	for _, c := range pod.Spec.InitContainers {
		if c.Name != slot {
			continue
		}
		for _, e := range c.Env {
			if e.Name == name {
				return strings.ReplaceAll(e.Value, "$$", "$")
			}
		}
	}
	return ""
}

// TestSecondPassSeesNewcomers: when another webhook adds a container between two passes, its probe
// is moved, earlier ones stay as recorded, and Tulle's containers are first again.
func TestSecondPassSeesNewcomers(t *testing.T) {
	pod, ns, s := injected(t, "probes")
	first := environment(t, pod, names.ContainerSlotA, protocol.EnvProbes)
	pod.Spec.InitContainers = append([]corev1.Container{{Name: "early", Image: "i"}}, pod.Spec.InitContainers...)
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "late"})
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "vault", Image: "i", LivenessProbe: &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8200)}},
	}})
	r, refusal := Pod(pod, ns, s)
	if refusal != nil {
		t.Fatal(refusal.Message())
	}
	for i, want := range []string{names.ContainerInit, names.ContainerSlotA, names.ContainerSlotB, names.ContainerWait, "early"} {
		if got := r.Pod.Spec.InitContainers[i].Name; got != want {
			t.Errorf("init container %d is %s, want %s", i, got, want)
		}
	}
	var was, is protocol.Probes
	for _, p := range []struct {
		text string
		into *protocol.Probes
	}{{first, &was}, {environment(t, r.Pod, names.ContainerSlotB, protocol.EnvProbes), &is}} {
		if err := json.Unmarshal([]byte(p.text), p.into); err != nil {
			t.Fatal(err)
		}
	}
	was[protocol.ProbePath(testToken, "vault", "liveness")] = protocol.Probe{TCP: &protocol.TCPProbe{Port: 8200}}
	if d := cmp.Diff(was, is); d != "" {
		t.Error(d)
	}
	again(t, r.Pod, ns, s)
}

// TestSecondPassKeepsAdmission: what the API server's own admission plugins added to Tulle's
// containers must survive where they check it again later; all else in them is Tulle's, and the application's
// API token is not for the proxy.
func TestSecondPassKeepsAdmission(t *testing.T) {
	pod, ns, s := injected(t, "plain")
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		c.ImagePullPolicy = corev1.PullAlways                            // AlwaysPullImages
		c.Resources.Limits[corev1.ResourceCPU] = resource.MustParse("1") // LimitRanger
		c.TerminationMessagePath = corev1.TerminationMessagePathDefault
	}
	again(t, pod, ns, s)

	want := pod.DeepCopy()
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		c.Image, c.Command, c.Args = "evil.example/proxy", []string{"/evil"}, []string{"x"}
		c.Env = append(c.Env, corev1.EnvVar{Name: "LD_PRELOAD", Value: "/evil.so"})
		c.EnvFrom = []corev1.EnvFromSource{{}}
		c.SecurityContext = &corev1.SecurityContext{}
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "kube-api-x", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"})
		c.RestartPolicy = nil
		c.Lifecycle = nil
	}
	pod.Annotations[names.AnnotationInjected] = "nonsense"
	r, refusal := Pod(pod, ns, s)
	if refusal != nil {
		t.Fatal(refusal.Message())
	}
	if d := cmp.Diff(want, r.Pod); d != "" {
		t.Errorf("a second pass lets Tulle's containers be changed: %s", d)
	}
}

// TestSecondPassIsANewRelease: a pod created from an older one's manifest gets the containers of
// today, and its probes still reach the application.
func TestSecondPassIsANewRelease(t *testing.T) {
	pod, ns, s := injected(t, "metrics")
	s.Image, s.Version, s.Revision = "registry.example/tulle-proxy:0.2.0", "0.2.0", "0-2-0"
	r, refusal := Pod(pod, ns, s)
	if refusal != nil {
		t.Fatal(refusal.Message())
	}
	for _, c := range r.Pod.Spec.InitContainers[:4] {
		if c.Image != s.Image {
			t.Errorf("%s runs %s", c.Name, c.Image)
		}
	}
	if got := r.Pod.Labels[names.LabelVersion]; got != "0.2.0" {
		t.Errorf("label says %s", got)
	}
	if got, want := environment(t, r.Pod, names.ContainerSlotA, protocol.EnvMetrics), `{"port":9100,"path":"/stats"}`; got != want {
		t.Errorf("metrics are at %s, want %s", got, want)
	}
}

// TestForgedRecord: a pod that only claims to have been injected is injected like any other, and
// what it claims for probes that it does not have is forgotten.
func TestForgedRecord(t *testing.T) {
	pod, ns, s := load(t, "plain")
	want, _ := Pod(pod, ns, s)
	pod.Annotations = map[string]string{names.AnnotationInjected: "{}"}
	pod.Spec.InitContainers = []corev1.Container{{Name: names.ContainerSlotA, Image: "evil", Env: []corev1.EnvVar{
		{Name: protocol.EnvProbes, Value: `{"/probe/app/liveness":{"tcp":{"host":"192.0.2.1","port":22}}}`},
		{Name: protocol.EnvMetrics, Value: `{"port":22,"path":"/"}`},
	}}}
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: names.VolumeRun}, corev1.Volume{Name: names.VolumeRun})
	got, refusal := Pod(pod, ns, s)
	if refusal != nil {
		t.Fatal(refusal.Message())
	}
	if d := cmp.Diff(want.Pod, got.Pod); d != "" {
		t.Error(d)
	}
}
