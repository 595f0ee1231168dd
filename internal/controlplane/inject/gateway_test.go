// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/slots"
)

// ofFront is a pod as the operator has it made for Gateway front, without the label that keeps it from the webhook.
func ofFront(image string) *corev1.Pod {
	s := slots.Spec{Image: image, Kind: names.KindGateway, Gateway: "front"}
	yes := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Labels:          map[string]string{names.LabelProxy: names.KindGateway, names.LabelGateway: "front"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "front-tulle-5d8f7c9b6", Controller: &yes}},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: "front-tulle", InitContainers: slots.Containers(s), Containers: []corev1.Container{slots.Hold(s)}, Volumes: slots.Volumes(s),
		},
	}
}

// TestGatewayPods: the pods of a Gateway stay as they are, and no other pod gets out of the mesh by passing for one.
func TestGatewayPods(t *testing.T) {
	_, ns, s := load(t, "plain")
	app := corev1.Container{Name: "app", Image: "i"}
	type change struct {
		change func(*corev1.Pod)
		ok     bool
	}
	// A copy of the pod runs nothing else by any of its containers.
	copyWith := func(f func(*corev1.Container)) change {
		return change{func(p *corev1.Pod) {
			p.ObjectMeta = metav1.ObjectMeta{}
			f(&p.Spec.Containers[0])
		}, false}
	}
	run := corev1.ExecAction{Command: []string{"/cm/program"}}
	program, probe := corev1.LifecycleHandler{Exec: &run}, corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &run}}
	mount := func(name, path string) func(*corev1.Container) {
		return func(c *corev1.Container) {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path})
		}
	}
	for name, c := range map[string]change{
		"the operator's":            {func(*corev1.Pod) {}, true},
		"of another release":        {func(p *corev1.Pod) { *p = *ofFront("registry.example/tulle-proxy:0.0.9") }, true},
		"by digest":                 {func(p *corev1.Pod) { *p = *ofFront("registry.example/tulle-proxy@sha256:abc") }, true},
		"copy without labels":       {func(p *corev1.Pod) { p.ObjectMeta = metav1.ObjectMeta{Name: "copy"} }, true},
		"label alone":               {func(p *corev1.Pod) { p.Spec = corev1.PodSpec{Containers: []corev1.Container{app}} }, false},
		"with an application":       {func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, app) }, false},
		"with an init container":    {func(p *corev1.Pod) { p.Spec.InitContainers = append(p.Spec.InitContainers, app) }, false},
		"application for the proxy": {func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"/app"} }, false},
		"another image":             {func(p *corev1.Pod) { *p = *ofFront("evil/tulle-proxy:0.1.0") }, false},
		"another image for one":     {func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" }, false},
		"another account":           {func(p *corev1.Pod) { p.Spec.ServiceAccountName = "default" }, false},
		"no owner":                  {func(p *corev1.Pod) { p.OwnerReferences = nil }, false},
		"another owner":             {func(p *corev1.Pod) { p.OwnerReferences[0].Name = "mine-5d8f7c9b6" }, false},
		"an owner of another kind":  {func(p *corev1.Pod) { p.OwnerReferences[0].Kind = "StatefulSet" }, false},
		"of another Gateway":        {func(p *corev1.Pod) { p.Labels[names.LabelGateway] = "back" }, false},
		"copy with an application": {func(p *corev1.Pod) {
			p.ObjectMeta = metav1.ObjectMeta{}
			p.Spec.Containers = append(p.Spec.Containers, app)
		}, false},
		"copy with the mount of its account": {func(p *corev1.Pod) {
			p.ObjectMeta = metav1.ObjectMeta{}
			p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "kube-api-access-1", MountPath: accountMount})
		}, true},
		"program in a hook":             copyWith(func(c *corev1.Container) { c.Lifecycle = &corev1.Lifecycle{PostStart: &program} }),
		"program at the end":            copyWith(func(c *corev1.Container) { c.Lifecycle = &corev1.Lifecycle{PreStop: &program} }),
		"program in a startup probe":    copyWith(func(c *corev1.Container) { c.StartupProbe = &probe }),
		"program in a readiness probe":  copyWith(func(c *corev1.Container) { c.ReadinessProbe = &probe }),
		"program in a liveness probe":   copyWith(func(c *corev1.Container) { c.LivenessProbe = &probe }),
		"files in place of the proxy's": copyWith(mount("cm", "/usr/local/bin")),
		"files elsewhere":               copyWith(mount("cm", "/cm")),
		"files of ours elsewhere":       copyWith(mount(names.VolumeRun, "/usr/local/bin")),
		"a variable for the loader":     copyWith(func(c *corev1.Container) { c.Env = append(c.Env, corev1.EnvVar{Name: "LD_PRELOAD", Value: "/x"}) }),
		"variables of a ConfigMap":      copyWith(func(c *corev1.Container) { c.EnvFrom = []corev1.EnvFromSource{{}} }),
		"a device":                      copyWith(func(c *corev1.Container) { c.VolumeDevices = []corev1.VolumeDevice{{Name: "d", DevicePath: "/d"}} }),
		"files where the slots have theirs": {func(p *corev1.Pod) {
			p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}
		}, false},
		"program in the hook of the labelled": {func(p *corev1.Pod) { p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: &program} }, false},
		"copy with a false image":             {func(p *corev1.Pod) { *p = *ofFront("evil:0.1.0"); p.ObjectMeta = metav1.ObjectMeta{} }, false},
		"application in a container":          {func(p *corev1.Pod) { p.Spec.Containers = []corev1.Container{{Name: names.ContainerWait, Image: "i"}} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			pod := ofFront(s.Image)
			c.change(pod)
			r, refusal := Pod(pod, ns, s)
			switch {
			case c.ok && (refusal != nil || r.Pod != nil):
				t.Errorf("%+v, %+v", r, refusal)
			case !c.ok && (refusal == nil || !strings.Contains(refusal.Message(), names.LabelInject+"="+names.InjectDisabled)):
				t.Errorf("%+v, %+v", r, refusal)
			}
			// Where nobody asks for a proxy, and with the label that gives it up, nothing is refused.
			outside := ns
			outside.Labels = nil
			if r, refusal := Pod(pod, outside, s); refusal != nil || r.Pod != nil {
				t.Errorf("outside the mesh: %+v, %+v", r, refusal)
			}
			if pod.Labels == nil {
				pod.Labels = map[string]string{}
			}
			pod.Labels[names.LabelInject] = names.InjectDisabled
			if r, refusal := Pod(pod, ns, s); refusal != nil || r.Pod != nil {
				t.Errorf("with the label: %+v, %+v", r, refusal)
			}
		})
	}
}

// TestRepository: an image without its version.
func TestRepository(t *testing.T) {
	for image, want := range map[string]string{
		"a/b:1": "a/b", "a/b": "a/b", "host:5000/a/b": "host:5000/a/b", "host:5000/a/b:1": "host:5000/a/b", "a/b@sha256:c": "a/b", "a/b:1@sha256:c": "a/b", "": "",
	} {
		if got := repository(image); got != want {
			t.Errorf("%s: %s", image, got)
		}
	}
}
