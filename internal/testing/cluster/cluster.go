// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
)

// Cluster is a real cluster. Safe for concurrent use.
type Cluster struct {
	client.Client
	Kube   kubernetes.Interface
	Config *rest.Config
}

// Connect uses the cluster of KUBECONFIG.
func Connect(t testing.TB) *Cluster {
	t.Helper()
	path := os.Getenv("KUBECONFIG")
	if path == "" {
		t.Fatal("this test needs a cluster: set KUBECONFIG, or run it by its make target, which brings one up")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatalf("read KUBECONFIG: %v", err)
	}
	cfg.QPS, cfg.Burst = 100, 200
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, gwapiv1.Install, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(cfg, client.Options{Scheme: s})
	if err != nil {
		t.Fatalf("reach the cluster: %v", err)
	}
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &Cluster{Client: c, Kube: kube, Config: cfg}
}

// Eventually calls f until it returns nil, and fails with its last error after the timeout.
func Eventually(t testing.TB, timeout time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, timeout, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Objects reads YAML documents.
func Objects(docs string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(docs), 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := d.Decode(&u.Object); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("read YAML: %w", err)
		}
		if len(u.Object) > 0 {
			out = append(out, u)
		}
	}
}

// TryApply applies YAML documents server-side, as kubectl apply --server-side does.
func (c *Cluster) TryApply(ctx context.Context, docs string) error {
	objs, err := Objects(docs)
	if err != nil {
		return err
	}
	for _, o := range objs {
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("e2e"), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), client.ObjectKeyFromObject(o), err)
		}
	}
	return nil
}

// MustApply applies YAML documents; args fill its verbs as in Sprintf.
func (c *Cluster) MustApply(t testing.TB, docs string, args ...any) {
	t.Helper()
	if len(args) > 0 {
		docs = fmt.Sprintf(docs, args...)
	}
	if err := c.TryApply(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
}

// Namespace makes a namespace of a new name with these labels, "name=value", and removes it at the test's end.
func (c *Cluster) Namespace(t testing.TB, prefix string, labels ...string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-", Labels: map[string]string{}}}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		ns.Labels[k] = v
	}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatalf("make namespace: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if t.Failed() {
			c.dump(ctx, t, ns.Name)
		}
		if err := c.Delete(ctx, ns); err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("remove namespace %s: %v", ns.Name, err)
		}
	})
	return ns.Name
}

// dump logs what a failed test's pods say.
func (c *Cluster) dump(ctx context.Context, t testing.TB, ns string) {
	pods := &corev1.PodList{}
	if err := c.List(ctx, pods, client.InNamespace(ns)); err != nil {
		t.Logf("list pods of %s: %v", ns, err)
		return
	}
	for _, p := range pods.Items {
		for _, s := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			t.Logf("pod %s/%s, container %s: ready %v, restarts %d, %+v", ns, p.Name, s.Name, s.Ready, s.RestartCount, s.State)
			t.Log(c.Logs(ctx, ns, p.Name, s.Name, 25))
		}
	}
	events := &corev1.EventList{}
	if err := c.List(ctx, events, client.InNamespace(ns)); err == nil {
		for _, e := range events.Items {
			if e.Type != corev1.EventTypeNormal {
				t.Logf("event %s/%s: %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
			}
		}
	}
}

// Logs returns the last lines of a container's log, or why there are none.
func (c *Cluster) Logs(ctx context.Context, ns, pod, container string, lines int64) string {
	o := &corev1.PodLogOptions{Container: container}
	if lines > 0 {
		o.TailLines = &lines
	}
	b, err := c.Kube.CoreV1().Pods(ns).GetLogs(pod, o).DoRaw(ctx)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Exec runs a command in a container and returns its output.
func (c *Cluster) Exec(ctx context.Context, ns, pod, container string, command ...string) (string, error) {
	req := c.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(ns).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	e, err := remotecommand.NewSPDYExecutor(c.Config, "POST", req.URL())
	if err != nil {
		return "", err
	}
	var out, errs bytes.Buffer
	if err := e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &errs}); err != nil {
		return out.String(), fmt.Errorf("%s in %s/%s: %w: %s", strings.Join(command, " "), ns, pod, err, errs.String())
	}
	return out.String(), nil
}
