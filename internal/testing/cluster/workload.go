// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/test/load"
)

// Tag of the test images: TULLE_TAG, by default dev.
func Tag() string {
	if tag := os.Getenv("TULLE_TAG"); tag != "" {
		return tag
	}
	return "dev"
}

// Echo describes a Deployment of the echo app, with its ServiceAccount and Service of the same name.
type Echo struct {
	Name     string
	Version  string // label and what the app reports; empty: v1
	Replicas int    // 0: 1
	Account  string // empty: Name
	Args     []string
	// Ports of the Service in YAML flow style; empty: http 80 -> 8080 and grpc 9090 -> 9090.
	Ports string
	// Labels and Annotations of the pods, "name: value".
	Labels, Annotations []string
	// NoService leaves the Service out.
	NoService bool
	// Unprobed leaves the readiness probe out: the pod is Ready however busy the machine is.
	Unprobed bool
	// CPU is the share of a processor that the app requests, such as "500m"; empty: none.
	CPU string
}

// Deploy applies the app; Ready waits for it.
func (c *Cluster) Deploy(t testing.TB, ns string, e Echo) {
	t.Helper()
	c.MustApply(t, e.YAML(ns))
}

// YAML is the app's manifest.
func (e Echo) YAML(ns string) string {
	if e.Version == "" {
		e.Version = "v1"
	}
	if e.Account == "" {
		e.Account = e.Name
	}
	if e.Replicas == 0 {
		e.Replicas = 1
	}
	if e.Ports == "" {
		e.Ports = "[{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 9090, targetPort: 9090}]"
	}
	deployment := e.Name
	if e.Version != "v1" {
		deployment += "-" + e.Version
	}
	args := append([]string{"-name", e.Name, "-http", ":8080", "-grpc", ":9090"}, e.Args...)
	b, err := json.Marshal(args)
	if err != nil {
		panic(err) // strings can always be encoded
	}
	extra := ""
	for _, l := range e.Labels {
		extra += "\n        " + l
	}
	// An answer that is wrong or missing counts at once, one that is late because the machine is busy does not.
	probe := "        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, timeoutSeconds: 5}\n"
	if e.Unprobed {
		probe = ""
	}
	if e.CPU != "" {
		probe += "        resources: {requests: {cpu: " + e.CPU + "}}\n"
	}
	notes := ""
	for _, a := range e.Annotations {
		notes += "\n        " + a
	}
	out := fmt.Sprintf(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[2]s, namespace: %[1]s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[3]s, namespace: %[1]s}
spec:
  replicas: %[4]d
  selector: {matchLabels: {app: %[5]s, version: %[6]s}}
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  template:
    metadata:
      labels:
        app: %[5]s
        version: %[6]s%[7]s
      annotations:
        e2e: "true"%[8]s
    spec:
      serviceAccountName: %[2]s
      terminationGracePeriodSeconds: 20
      containers:
      - name: app
        image: tulle.local/echo:%[10]s
        imagePullPolicy: IfNotPresent
        args: %[9]s
        env: [{name: VERSION, value: %[6]s}, {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        ports: [{name: http, containerPort: 8080}, {name: grpc, containerPort: 9090}]
%[11]s`, ns, e.Account, deployment, e.Replicas, e.Name, e.Version, extra, notes, b, Tag(), probe)
	if e.NoService {
		return out
	}
	return out + fmt.Sprintf(`---
apiVersion: v1
kind: Service
metadata: {name: %[2]s, namespace: %[1]s}
spec: {selector: {app: %[2]s}, ports: %[3]s}
`, ns, e.Name, e.Ports)
}

// Ready waits until Deployments have all their replicas ready and no others.
func (c *Cluster) Ready(t testing.TB, ns string, deployments ...string) {
	t.Helper()
	for _, name := range deployments {
		Eventually(t, 2*time.Minute, "Deployment "+ns+"/"+name+" ready", func() error {
			d := &appsv1.Deployment{}
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, d); err != nil {
				return err
			}
			s := d.Status
			if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != *d.Spec.Replicas || s.ReadyReplicas != *d.Spec.Replicas || s.Replicas != *d.Spec.Replicas {
				return fmt.Errorf("%d of %d replicas updated, %d ready, %d in all", s.UpdatedReplicas, *d.Spec.Replicas, s.ReadyReplicas, s.Replicas)
			}
			return nil
		})
	}
}

// Pods returns the pods with a label that are not being deleted.
func (c *Cluster) Pods(t testing.TB, ns, label string) []corev1.Pod {
	t.Helper()
	k, v, _ := strings.Cut(label, "=")
	l := &corev1.PodList{}
	if err := c.List(t.Context(), l, client.InNamespace(ns), client.MatchingLabels{k: v}); err != nil {
		t.Fatal(err)
	}
	var out []corev1.Pod
	for _, p := range l.Items {
		if p.DeletionTimestamp == nil {
			out = append(out, p)
		}
	}
	return out
}

// Run is a pod that sends load.
type Run struct {
	c        *Cluster
	ns, name string
}

// Load starts a pod that sends requests as args say (see the load app) from a namespace. meshed false
// keeps the proxy out of it.
func (c *Cluster) Load(t testing.TB, ns string, meshed bool, args ...string) *Run {
	t.Helper()
	label := "enabled"
	if !meshed {
		label = "disabled"
	}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "load-", Namespace: ns, Labels: map[string]string{"app": "load", "tulle.dev/inject": label}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name: "load", Image: "tulle.local/load:" + Tag(), ImagePullPolicy: corev1.PullIfNotPresent,
				Args: append([]string{"-json"}, args...),
				// Who measures must not be the first to starve, as pods without a request are.
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}},
			}},
		},
	}
	if err := c.Create(t.Context(), p); err != nil {
		t.Fatalf("start load: %v", err)
	}
	return &Run{c, ns, p.Name}
}

// Progress is the last summary so far; false before the first.
func (r *Run) Progress(ctx context.Context) (load.Summary, bool) {
	lines := strings.Split(strings.TrimSpace(r.c.Logs(ctx, r.ns, r.name, "load", 1)), "\n")
	var s load.Summary
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil {
		return s, false
	}
	return s, true
}

// Sent waits until the load has sent n requests.
func (r *Run) Sent(t testing.TB, n int) {
	t.Helper()
	Eventually(t, time.Minute, fmt.Sprintf("load sent %d requests", n), func() error {
		s, ok := r.Progress(t.Context())
		if !ok || s.Sent < n {
			return fmt.Errorf("%d until now: %s", s.Sent, r.c.Logs(t.Context(), r.ns, r.name, "load", 2))
		}
		return nil
	})
}

// Wait waits for the end and returns the summary.
func (r *Run) Wait(t testing.TB, timeout time.Duration) load.Summary {
	t.Helper()
	var sum load.Summary
	Eventually(t, timeout, "load "+r.name+" ends", func() error {
		s, ok := r.Progress(t.Context())
		if !ok || !s.Done {
			return fmt.Errorf("last said: %s", r.c.Logs(t.Context(), r.ns, r.name, "load", 2))
		}
		sum = s
		return nil
	})
	return sum
}

// Mesh waits until the Mesh is Ready.
func (c *Cluster) Mesh(t testing.TB, name string) *v1alpha1.Mesh {
	t.Helper()
	m := &v1alpha1.Mesh{}
	Eventually(t, 3*time.Minute, "Mesh "+name+" Ready", func() error {
		if err := c.Get(t.Context(), client.ObjectKey{Name: name}, m); err != nil {
			return err
		}
		ready := apimeta.FindStatusCondition(m.Status.Conditions, "Ready")
		if ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != m.Generation {
			return fmt.Errorf("conditions: %+v", m.Status.Conditions)
		}
		return nil
	})
	return m
}

// RouteCondition waits for a condition of an HTTPRoute's first parent in its current generation.
func (c *Cluster) RouteCondition(t testing.TB, ns, name, condition string, want metav1.ConditionStatus) metav1.Condition {
	t.Helper()
	var got metav1.Condition
	Eventually(t, time.Minute, fmt.Sprintf("HTTPRoute %s/%s %s=%s", ns, name, condition, want), func() error {
		r := &gwapiv1.HTTPRoute{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, r); err != nil {
			return err
		}
		if len(r.Status.Parents) == 0 {
			return fmt.Errorf("no parent in status")
		}
		k := apimeta.FindStatusCondition(r.Status.Parents[0].Conditions, condition)
		if k == nil || k.Status != want || k.ObservedGeneration != r.Generation {
			return fmt.Errorf("conditions: %+v", r.Status.Parents[0].Conditions)
		}
		got = *k
		return nil
	})
	return got
}

// Pod is the pod that sends.
func (r *Run) Pod(t testing.TB) corev1.Pod {
	t.Helper()
	p := corev1.Pod{}
	if err := r.c.Get(t.Context(), client.ObjectKey{Namespace: r.ns, Name: r.name}, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// Stop ends the run at once, and removes its pod.
func (r *Run) Stop(ctx context.Context) error {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: r.ns, Name: r.name}}
	return r.c.Delete(ctx, p, client.GracePeriodSeconds(0))
}

// ActiveRoots are the fingerprints of the roots that a Mesh signs with.
func ActiveRoots(m *v1alpha1.Mesh) []string {
	var out []string
	for _, r := range m.Status.Roots {
		if r.Active {
			out = append(out, r.SHA256)
		}
	}
	return out
}
