// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// worker is a pod without an owner.
const worker = `
apiVersion: v1
kind: Pod
metadata: {name: %[3]s, namespace: %[1]s, labels: {app: %[3]s}}
spec:
  terminationGracePeriodSeconds: 30
%[4]s
  containers:
  - name: app
    image: tulle.local/echo:%[2]s
    imagePullPolicy: IfNotPresent
    args: [-name, %[3]s, -http, ":8080"]
    ports: [{name: http, containerPort: 8080}]
    startupProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, failureThreshold: 60}
    readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
    livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 5}
%[5]s
---
apiVersion: v1
kind: Service
metadata: {name: %[3]s, namespace: %[1]s}
spec: {selector: {app: %[3]s}, ports: [{name: http, port: 80, targetPort: 8080}]}
`

func podReady(t *testing.T, c *cluster.Cluster, ns, name string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{}
	cluster.Eventually(t, 2*time.Minute, "pod "+name+" ready", func() error {
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, p); err != nil {
			return err
		}
		if condition(*p, corev1.PodReady).Status != corev1.ConditionTrue {
			return fmt.Errorf("%+v", p.Status.Conditions)
		}
		return nil
	})
	return p
}

// injectedOnce checks that a pod has each of Tulle's containers once.
func injectedOnce(t *testing.T, p *corev1.Pod) {
	t.Helper()
	count := map[string]int{}
	for _, k := range p.Spec.InitContainers {
		count[k.Name]++
	}
	for _, name := range []string{names.ContainerInit, names.ContainerSlotA, names.ContainerSlotB, names.ContainerWait} {
		if count[name] != 1 {
			t.Errorf("%s has %d containers %s", p.Name, count[name], name)
		}
	}
}

// calls checks that a pod is reached by Service name from another, which proves who it is.
func calls(t *testing.T, c *cluster.Cluster, ns, client, service string) {
	t.Helper()
	cluster.Eventually(t, time.Minute, client+" is the proven caller of "+service, func() error {
		d, err := (from{c, ns, client}).tryDial(t.Context(), "http", "-timeout", "5s", "http://"+service+"/")
		if err != nil {
			return err
		}
		if d.Status != 200 || d.Report.Caller != spiffe(ns, "default") {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
}

// anew is a pod's manifest as it was read, for another pod of that name or another.
func anew(p *corev1.Pod, name string) *corev1.Pod {
	out := p.DeepCopy()
	out.Name, out.UID, out.ResourceVersion, out.Spec.NodeName = name, "", "", ""
	out.Status = corev1.PodStatus{}
	return out
}

// TestInjectionAgain: pods and templates that carry what Tulle wrote are admitted, and come up as any
// other: a template that was restarted for a release, a pod made again from what was read of it after its
// proxy was replaced, and copies as "kubectl debug" makes them.
func TestInjectionAgain(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "again", meshed)
	c.MustApply(t, worker, ns, cluster.Tag(), "worker", "", "")
	c.MustApply(t, worker, ns, cluster.Tag(), "client", "", "")
	c.Deploy(t, ns, cluster.Echo{Name: "web"})
	podReady(t, c, ns, "client")
	first := podReady(t, c, ns, "worker")
	c.Ready(t, ns, "web")

	t.Run("template", func(t *testing.T) {
		d := &appsv1.Deployment{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "web"}, d); err != nil {
			t.Fatal(err)
		}
		before := client.MergeFrom(d.DeepCopy())
		if d.Spec.Template.Annotations == nil {
			d.Spec.Template.Annotations = map[string]string{}
		}
		d.Spec.Template.Annotations[names.AnnotationRestart], d.Spec.Template.Annotations[names.AnnotationRestart020] = newer, newer
		if err := c.Patch(t.Context(), d, before); err != nil {
			t.Fatal(err)
		}
		c.Ready(t, ns, "web")
		events := &corev1.EventList{}
		if err := c.List(t.Context(), events, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
		for _, e := range events.Items {
			if e.Reason == "FailedCreate" {
				t.Error(e.Message)
			}
		}
	})
	t.Run("replaced", func(t *testing.T) {
		p := first.DeepCopy()
		before := client.MergeFrom(p.DeepCopy())
		p.Annotations[names.AnnotationTarget] = `{"slot":"a","generation":1}`
		if err := c.Patch(t.Context(), p, before); err != nil {
			t.Fatal(err)
		}
		deleted(t, c, p, 30*time.Second)
		if err := c.Create(t.Context(), anew(p, "worker")); err != nil {
			t.Fatal(err)
		}
		p = podReady(t, c, ns, "worker")
		injectedOnce(t, p)
		if a, ok := p.Annotations[names.AnnotationTarget]; ok {
			t.Errorf("the order of the former pod is in force: %s", a)
		}
		calls(t, c, ns, "client", "worker")
	})
	for name, change := range map[string]func(*corev1.Pod){
		"copy-default": func(p *corev1.Pod) { // as kubectl debug --copy-to
			p.Labels, p.Annotations = nil, nil
			k := &p.Spec.Containers[0]
			k.StartupProbe, k.ReadinessProbe, k.LivenessProbe = nil, nil, nil
		},
		"copy-probes":  func(p *corev1.Pod) { p.Labels, p.Annotations = nil, nil }, // --keep-liveness and so on
		"copy-no-init": func(p *corev1.Pod) { p.Labels, p.Annotations, p.Spec.InitContainers = nil, nil, nil },
		"copy-whole":   func(*corev1.Pod) {},
	} {
		t.Run(name, func(t *testing.T) {
			p := anew(first, name)
			share := true
			p.Spec.ShareProcessNamespace = &share
			change(p)
			if err := c.Create(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			p = podReady(t, c, ns, name)
			injectedOnce(t, p)
			calls(t, c, ns, name, "client")
			deleted(t, c, p, 30*time.Second)
		})
	}
	// A copy that asks for no proxy runs without, whichever labels it has kept: the old proxy's image may be gone.
	bare := c.Namespace(t, "again-bare")
	for name, change := range map[string]func(*corev1.Pod){
		"bare-labelled": func(p *corev1.Pod) { p.Namespace = bare },
		"bare-plain":    func(p *corev1.Pod) { p.Namespace, p.Labels = bare, nil },
		"disabled":      func(p *corev1.Pod) { p.Labels[names.LabelInject] = names.InjectDisabled },
		"bare-disabled": func(p *corev1.Pod) { p.Namespace, p.Labels[names.LabelInject] = bare, names.InjectDisabled },
	} {
		t.Run(name, func(t *testing.T) {
			p := anew(first, name)
			change(p)
			for i := range p.Spec.InitContainers {
				if k := &p.Spec.InitContainers[i]; strings.HasPrefix(k.Name, "tulle-") {
					k.Image = "tulle.test/gone:1"
				}
			}
			if err := c.Create(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			p = podReady(t, c, p.Namespace, name)
			for _, k := range p.Spec.InitContainers {
				if strings.HasPrefix(k.Name, "tulle-") {
					t.Errorf("it has container %s", k.Name)
				}
			}
			if kind, ok := p.Labels[names.LabelProxy]; ok {
				t.Errorf("it has label %s=%s", names.LabelProxy, kind)
			}
			deleted(t, c, p, 30*time.Second)
		})
	}
}

// deleted deletes a pod and waits until it does not exist, at most for so long.
func deleted(t *testing.T, c *cluster.Cluster, p *corev1.Pod, limit time.Duration) {
	t.Helper()
	began := time.Now()
	if err := c.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	// The API server hears of the end a little later.
	cluster.Eventually(t, limit+5*time.Second, "pod "+p.Name+" deleted", func() error {
		now := &corev1.Pod{}
		err := c.Get(t.Context(), client.ObjectKeyFromObject(p), now)
		if apierrors.IsNotFound(err) || err == nil && now.UID != p.UID {
			return nil
		}
		return fmt.Errorf("%w: %+v", err, now.Status)
	})
	t.Logf("%s ended after %v", p.Name, time.Since(began).Round(100*time.Millisecond))
}

// TestDNSPolicies: a pod that does not ask the cluster's DNS gets its proxy like any other.
func TestDNSPolicies(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "dns", meshed)
	pods := map[string]string{
		"client":       "",
		"node-dns":     "  dnsPolicy: Default",
		"own-dns":      "  dnsPolicy: None\n  dnsConfig: {nameservers: [192.0.2.53]}",
		"host-aliases": "  hostAliases: [{ip: 192.0.2.1, hostnames: [tulle-controlplane.tulle-system.svc]}]",
		"own-search":   "  dnsConfig: {searches: [example.com], options: [{name: ndots, value: \"15\"}]}",
	}
	for name, dns := range pods {
		c.MustApply(t, worker, ns, cluster.Tag(), name, dns, "")
	}
	for name := range pods {
		podReady(t, c, ns, name)
	}
	delete(pods, "client") // in the pod of that name it is the pod's own address, and not the Service's
	for name := range pods {
		calls(t, c, ns, "client", name)
	}
}

// TestUnreadyProxy: a pod whose proxy gets no certificate says why in its status, which "kubectl describe
// pod" shows, whatever its restart policy, and ends within its grace period when it is deleted.
func TestUnreadyProxy(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "unready", meshed)
	for _, policy := range []string{"Always", "Never"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			name := strings.ToLower(policy)
			c.MustApply(t, worker, ns, cluster.Tag(), name, "  restartPolicy: "+policy+"\n  schedulingGates: [{name: example.com/later}]", "")
			// The control plane signs only for pods that have this label.
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
				t.Fatal(err)
			}
			before := client.MergeFrom(p.DeepCopy())
			delete(p.Labels, names.LabelProxy)
			p.Spec.SchedulingGates = nil
			if err := c.Patch(t.Context(), p, before); err != nil {
				t.Fatal(err)
			}
			cluster.Eventually(t, 3*time.Minute, "the pod's status has the reason", func() error {
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
					return err
				}
				if p.Status.Phase != corev1.PodPending {
					t.Fatalf("the pod is %s", p.Status.Phase)
				}
				i := slices.IndexFunc(p.Status.InitContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == names.ContainerSlotA })
				if i < 0 || p.Status.InitContainerStatuses[i].LastTerminationState.Terminated == nil {
					return fmt.Errorf("%+v", p.Status.InitContainerStatuses)
				}
				said := p.Status.InitContainerStatuses[i].LastTerminationState.Terminated.Message
				if !strings.Contains(said, "the proxy is not ready") || !strings.Contains(said, "get a certificate from") {
					return fmt.Errorf("it says %q", said)
				}
				t.Log(said)
				return nil
			})
			deleted(t, c, p, 30*time.Second)
		})
	}
}

// TestGuaranteedPods: a pod keeps its QoS class.
func TestGuaranteedPods(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "class", meshed)
	c.MustApply(t, worker, ns, cluster.Tag(), "ledger", "", "    resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 50m, memory: 64Mi}}")
	c.MustApply(t, worker, ns, cluster.Tag(), "burst", "", "    resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 64Mi}}")
	for name, want := range map[string]corev1.PodQOSClass{"ledger": corev1.PodQOSGuaranteed, "burst": corev1.PodQOSBurstable} {
		if p := podReady(t, c, ns, name); p.Status.QOSClass != want {
			t.Errorf("%s is %s", name, p.Status.QOSClass)
		}
	}
	calls(t, c, ns, "burst", "ledger")
}

// TestUpgradeByRollout goes to the release before and back with dataPlane: Rollout: workloads are
// restarted, their pods have one slot of the release asked for, nothing is refused, and afterwards the
// workloads can be scaled to nothing and back.
func TestUpgradeByRollout(t *testing.T) {
	c := cluster.Connect(t)
	was := c.Mesh(t, meshName()).Spec.Upgrade
	ns := c.Namespace(t, "by-rollout", meshed)
	t.Cleanup(func() { edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Upgrade = was }) })
	edit(t, c, func(m *v1alpha1.Mesh) {
		hasty(m)
		m.Spec.Upgrade.DataPlane = v1alpha1.DataPlaneRollout
	})
	for _, name := range []string{"server", "second"} {
		c.Deploy(t, ns, cluster.Echo{Name: name, Replicas: 2})
	}
	c.MustApply(t, `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: %[1]s}
spec:
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers:
      - {name: app, image: "tulle.local/echo:%[2]s", imagePullPolicy: IfNotPresent, args: [-name, db], readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}}
`, ns, cluster.Tag())
	c.Ready(t, ns, "server", "second")
	podReady(t, c, ns, "db-0")
	for _, version := range []string{older, newer} {
		edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = version })
		upgraded(t, c, version, v1alpha1.PhaseCompleted, 10*time.Minute)
		c.Ready(t, ns, "server", "second")
		db := podReady(t, c, ns, "db-0")
		for _, p := range append(append(c.Pods(t, ns, "app=server"), c.Pods(t, ns, "app=second")...), *db) {
			if !p.DeletionTimestamp.IsZero() {
				continue
			}
			if p.Labels[names.LabelVersion] != version {
				t.Errorf("%s is of %s, want %s", p.Name, p.Labels[names.LabelVersion], version)
			}
		}
	}
	for _, n := range []int32{0, 2} {
		d := &appsv1.Deployment{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "server"}, d); err != nil {
			t.Fatal(err)
		}
		before := client.MergeFrom(d.DeepCopy())
		d.Spec.Replicas = &n
		if err := c.Patch(t.Context(), d, before); err != nil {
			t.Fatal(err)
		}
		c.Ready(t, ns, "server")
	}
	events := &corev1.EventList{}
	if err := c.List(t.Context(), events, client.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		if e.Reason == "FailedCreate" {
			t.Errorf("%s/%s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Message)
		}
	}
}
