// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/unmesh"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// TestUninstall: what can't be helped is listed and nothing is done; with force, workloads leave a
// mesh of mutual TLS only, wave by wave, while a pod that stays behind and one that was never in it
// send to them. Then the Mesh is restored, and everybody who was in it is again.
func TestUninstall(t *testing.T) {
	c := cluster.Connect(t)
	before := c.Mesh(t, meshName())
	file := filepath.Join(t.TempDir(), "mesh.yaml")
	if code, _, errs := tulle(t, "", "backup", "-o", file); code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	others := planned(t) // the demo's
	ns := c.Namespace(t, "leave", meshed)
	single := c.Namespace(t, "leave-single")
	c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: 2})
	c.Deploy(t, single, cluster.Echo{Name: "server", Replicas: 2, Labels: []string{names.LabelInject + ": " + names.InjectEnabled}})
	c.Deploy(t, ns, cluster.Echo{Name: "lone"})
	c.MustApply(t, behind, ns, cluster.Tag())
	c.MustApply(t, sets, ns, cluster.Tag())
	c.Ready(t, ns, "server", "lone")
	cluster.Eventually(t, time.Minute, "a set's pods are meshed", func() error {
		if n := len(c.Pods(t, ns, "app=set")); n < 2 {
			return fmt.Errorf("%d pods", n)
		}
		return nil
	})
	c.Ready(t, single, "server")
	stays := c.Load(t, ns, true, "-url", "http://server/", "-method", "POST", "-new-connections", "-rate", "50", "-duration", "20m")
	kept := c.Load(t, ns, true, "-url", "http://server/", "-method", "POST", "-rate", "50", "-duration", "20m")
	stays.Sent(t, 50)
	kept.Sent(t, 50)

	code, out, errs := tulle(t, "", "uninstall", "--yes")
	loose := stays.Pod(t)
	if code != 2 || !strings.Contains(out, "Pod "+ns+"/"+loose.Name+": nobody replaces it") || !strings.Contains(errs, "--force") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, _, errs := tulle(t, "no\n", "uninstall", "--force"); code != 2 || !strings.Contains(errs, "Type "+before.Name) || !strings.Contains(errs, "nothing was done") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if p := planned(t); place(p, ns, "server") < 0 || place(p, ns, "server") >= place(p, ns, "lone") || p.Mesh != before.Name {
		t.Errorf("%+v", p)
	}
	for _, pod := range c.Pods(t, ns, "app=server") {
		if pod.Labels[names.LabelProxy] == "" {
			t.Fatal("something was done")
		}
	}

	mode(t, c, before, v1alpha1.MTLSStrict)
	cluster.Eventually(t, time.Minute, "plaintext is refused", func() error {
		if s := c.Load(t, ns, false, "-url", "http://behind/", "-count", "1").Wait(t, time.Minute); s.Failed == 0 {
			return errors.New("it is taken")
		}
		return nil
	})
	defer comeBack(t, c, file, before, others)
	code, out, errs = tulle(t, "", "uninstall", "--yes", "--force")
	t.Log(out)
	for _, want := range []string{"every proxy has taken that up", "Deployment " + ns + "/server: out of the mesh, 2 of 2 pods", "StatefulSet " + ns + "/stateful: out of the mesh, 1 of 1 pods", "DaemonSet " + ns + "/daemon: out of the mesh, 1 of 1 pods", "Mesh " + before.Name + " is gone", "kubectl delete crd meshes.tulle.dev", loose.Name} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, pod := range slices.Concat(c.Pods(t, ns, "app=server"), c.Pods(t, single, "app=server"), c.Pods(t, ns, "app=set")) {
		if pod.Labels[names.LabelProxy] != "" || len(pod.Spec.InitContainers) > 0 {
			t.Errorf("%s/%s carries a proxy", pod.Namespace, pod.Name)
		}
	}
	noFailure(t, c.Load(t, ns, false, "-url", "http://server/", "-count", "50").Wait(t, time.Minute), 50)
	// The proxy that stays behind was told to take plaintext before there was nobody left to tell it.
	noFailure(t, c.Load(t, ns, false, "-url", "http://behind/", "-count", "50").Wait(t, time.Minute), 50)
	for name, run := range map[string]*cluster.Run{"new connections": stays, "kept connections": kept} {
		sum, _ := run.Progress(t.Context())
		run.Sent(t, sum.Sent+100)
		sum, _ = run.Progress(t.Context())
		noFailure(t, sum, 200)
		t.Logf("%s: %d requests, %d failed, longest stall %.0f ms", name, sum.Sent, sum.Failed, sum.LongestStall)
	}
	// Once more: there is nothing to do.
	if code, out, errs := tulle(t, "", "uninstall", "--yes", "--force"); code != 0 || strings.Contains(out, "wave 1") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// behind is a server that nobody replaces.
const behind = `
apiVersion: v1
kind: Pod
metadata: {name: behind, namespace: %[1]s, labels: {app: behind}}
spec:
  containers:
  - name: app
    image: tulle.local/echo:%[2]s
    imagePullPolicy: IfNotPresent
    args: [-name, behind, -http, ":8080"]
    env: [{name: VERSION, value: v1}, {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: behind, namespace: %[1]s}
spec: {selector: {app: behind}, ports: [{name: http, port: 80, targetPort: 8080}]}
`

// sets are the other kinds of workloads.
const sets = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: stateful, namespace: %[1]s}
spec:
  serviceName: stateful
  selector: {matchLabels: {app: set, kind: stateful}}
  template:
    metadata: {labels: {app: set, kind: stateful}}
    spec:
      terminationGracePeriodSeconds: 10
      containers: [{name: app, image: "tulle.local/echo:%[2]s", imagePullPolicy: IfNotPresent, args: [-name, set, -http, ":8080"], readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: daemon, namespace: %[1]s}
spec:
  selector: {matchLabels: {app: set, kind: daemon}}
  template:
    metadata: {labels: {app: set, kind: daemon}}
    spec:
      terminationGracePeriodSeconds: 10
      containers: [{name: app, image: "tulle.local/echo:%[2]s", imagePullPolicy: IfNotPresent, args: [-name, set, -http, ":8080"], readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}}]
`

// planned is what an uninstallation would do now.
func planned(t *testing.T) unmesh.Plan {
	t.Helper()
	code, out, errs := tulle(t, "", "uninstall", "--force", "--dry-run", "-o", "json")
	var p unmesh.Plan
	if err := json.Unmarshal([]byte(out), &p); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	return p
}

// place is where in the plan a Deployment stands; -1: nowhere.
func place(p unmesh.Plan, ns, name string) int {
	i := 0
	for _, w := range p.Waves {
		for _, r := range w.Workloads {
			if r.Namespace == ns && r.Name == name {
				return i
			}
			i++
		}
	}
	return -1
}

// mode changes the mesh's mode of mutual TLS.
func mode(t *testing.T, c *cluster.Cluster, m *v1alpha1.Mesh, to v1alpha1.MTLSMode) {
	t.Helper()
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"mtls":{"mode":%q}}}`, to))
	if err := c.Patch(t.Context(), m.DeepCopy(), patch); err != nil {
		t.Fatal(err)
	}
	c.Mesh(t, m.Name)
}

// comeBack restores the mesh, and has those in it again that were.
func comeBack(t *testing.T, c *cluster.Cluster, file string, before *v1alpha1.Mesh, others unmesh.Plan) {
	t.Helper()
	if code, out, errs := tulle(t, "", "restore", "-f", file, "--wait"); code != 0 {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if m := c.Mesh(t, before.Name); m.Spec.MTLS.Mode != before.Spec.MTLS.Mode {
		t.Errorf("the mode was %s and is %s", before.Spec.MTLS.Mode, m.Spec.MTLS.Mode)
	}
	for _, name := range others.Namespaces {
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, names.LabelInject, names.InjectEnabled))
		ns := &corev1.Namespace{}
		ns.Name = name
		if err := client.IgnoreNotFound(c.Patch(t.Context(), ns, patch)); err != nil {
			t.Error(err)
		}
	}
	for _, w := range others.Waves {
		for _, r := range w.Workloads {
			o := &unstructured.Unstructured{}
			o.SetAPIVersion("apps/v1")
			o.SetKind(r.Kind)
			o.SetNamespace(r.Namespace)
			o.SetName(r.Name)
			patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"labels":{%q:null}}}}}`, names.LabelInject))
			if err := client.IgnoreNotFound(c.Patch(t.Context(), o, patch)); err != nil {
				t.Error(err)
			}
		}
	}
}
