// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package olm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// applications are the meshed workloads, with their replicas.
func applications() map[string]int { return map[string]int{"server": 3, "single": 1} }

// traffic deploys the applications and sends them requests of all kinds, until the namespace goes.
func traffic(t *testing.T, c *cluster.Cluster) (ns string, runs map[string]*cluster.Run) {
	t.Helper()
	ns = c.Namespace(t, "traffic", names.LabelInject+"="+names.InjectEnabled)
	for name, n := range applications() {
		c.Deploy(t, ns, cluster.Echo{Name: name, Replicas: n})
	}
	c.Ready(t, ns, slices.Sorted(maps.Keys(applications()))...)
	run := func(meshed bool, args ...string) *cluster.Run {
		return c.Load(t, ns, meshed, append(args, "-rate", "25", "-duration", "30m", "-workers", "16")...)
	}
	runs = map[string]*cluster.Run{
		"kept alive":                   run(true, "-url", "http://server/", "-method", "POST"),
		"new connections":              run(true, "-url", "http://server/", "-method", "POST", "-new-connections"),
		"gRPC":                         run(true, "-url", "grpc://server:9090/echo.Echo/Call"),
		"without a proxy, one replica": run(false, "-url", "http://single/", "-method", "POST", "-new-connections"),
	}
	for _, r := range runs {
		r.Sent(t, 200)
	}
	return ns, runs
}

// unfailed: of all requests until now none has failed.
func unfailed(t *testing.T, runs map[string]*cluster.Run) {
	t.Helper()
	sent, failed, stall := 0, 0, 0.0
	for name, run := range runs {
		s, ok := run.Progress(t.Context())
		if !ok {
			t.Errorf("%s: nothing is known of it", name)
		}
		if s.Failed > 0 || s.Done {
			t.Errorf("%s: %d of %d requests failed, ended %t: %v", name, s.Failed, s.Sent, s.Done, s.Failures)
		}
		sent, failed, stall = sent+s.Sent, failed+s.Failed, max(stall, s.LongestStall)
	}
	t.Logf("%d requests, %d failed, longest stall %.0f ms", sent, failed, stall)
	if sent < enough {
		t.Errorf("only %d requests were sent, want %d", sent, enough)
	}
}

// everything is the pods of operator, control plane and applications, by app and name.
func everything(t *testing.T, c *cluster.Cluster, ns string) map[string]map[string]corev1.Pod {
	t.Helper()
	out := map[string]map[string]corev1.Pod{}
	add := func(app, ns, label string) {
		out[app] = map[string]corev1.Pod{}
		for _, p := range c.Pods(t, ns, label) {
			out[app][p.Name] = p
		}
	}
	for _, app := range []string{names.Operator, names.ControlPlaneService} {
		add(app, system, names.LabelApp+"="+app)
	}
	for app := range applications() {
		add(app, ns, "app="+app)
	}
	return out
}

// serves: the mesh is of a release, and no upgrade is under way.
func serves(t *testing.T, m *v1alpha1.Mesh, version string) {
	t.Helper()
	if u := m.Status.Upgrade; m.Status.Version != version || u != nil && u.Finished == nil {
		t.Errorf("the mesh is of %s, want %s; upgrade %+v", m.Status.Version, version, u)
	}
}

// autoscaled is a change of the Mesh that the definition of the older release does not have a field for.
const autoscaled = `{"spec": {"gateway": {"autoscaling": {"maxReplicas": 3}}}}`

// oldDefinition: the definition of a Mesh is that of the older release.
func oldDefinition(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	if err := try(t, c, autoscaled); err == nil || !strings.Contains(err.Error(), "unknown field") {
		t.Errorf("the definition of %s knows a field of %s: %v", older, newer, err)
	}
}

// newDefinition: the definition has been upgraded too, for the Mesh that was there before.
func newDefinition(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	if err := try(t, c, autoscaled); err != nil {
		t.Errorf("a field of %s: %v", newer, err)
	}
	if err := try(t, c, `{"spec": {"version": "0.9.0"}}`); err == nil || !strings.Contains(err.Error(), "set spec.version to 0.3.x") {
		t.Errorf("a step of many minors: %v", err)
	}
}

// try asks whether the API server would take a change of the Mesh.
func try(t *testing.T, c *cluster.Cluster, patch string) error {
	t.Helper()
	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
	return c.Patch(t.Context(), m, client.RawPatch("application/merge-patch+json", []byte(patch)), client.DryRunAll, client.FieldValidation("Strict"))
}

// leads waits until an operator that was not there before leads, and has looked at the Mesh.
func leads(t *testing.T, c *cluster.Cluster, before map[string]corev1.Pod) {
	t.Helper()
	cluster.Eventually(t, 2*time.Minute, "the new operator leads", func() error {
		lease := &coordinationv1.Lease{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: system, Name: names.Operator}, lease); err != nil {
			return err
		}
		if lease.Spec.HolderIdentity == nil {
			return fmt.Errorf("nobody leads")
		}
		pod, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
		if _, old := before[pod]; old || pod == "" {
			return fmt.Errorf("%q leads", pod)
		}
		text, err := c.Kube.CoreV1().Pods(system).ProxyGet("http", pod, "8080", "/metrics", nil).DoRaw(t.Context())
		if err != nil {
			return err
		}
		if !strings.Contains(string(text), `tulle_mesh_condition{status="True",type="Ready"} 1`) {
			return fmt.Errorf("%s has not looked at the Mesh", pod)
		}
		return nil
	})
}

// untouched: another operator of another image, and nothing else.
func untouched(t *testing.T, c *cluster.Cluster, before, after map[string]map[string]corev1.Pod) {
	t.Helper()
	serves(t, c.Mesh(t, "tulle"), older)
	for name, p := range after[names.Operator] {
		if image := p.Spec.Containers[0].Image; image != "tulle.local/tulle:dev" {
			t.Errorf("operator %s is of %s", name, image)
		}
	}
	for app, pods := range before {
		if app == names.Operator {
			continue
		}
		same(t, app, pods, after[app])
		images(t, after[app], older)
	}
}

// upgrade changes the one field, and waits.
func upgrade(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	m := &v1alpha1.Mesh{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "tulle"}, m); err != nil {
		t.Fatal(err)
	}
	old := client.MergeFrom(m.DeepCopy())
	m.Spec.Version = newer
	// No longer than a test can wait; a machine that does all of this at once is slow now and then.
	half, slow := intstr.FromString("50%"), int32(10000)
	m.Spec.Upgrade.MaxUnavailable, m.Spec.Upgrade.Gates.MaxSlowdownPercent = &half, &slow
	m.Spec.Upgrade.Soak = metav1.Duration{Duration: 5 * time.Second}
	if err := c.Patch(t.Context(), m, old); err != nil {
		t.Fatal(err)
	}
	cluster.Eventually(t, 8*time.Minute, "the mesh is upgraded", func() error {
		if err := c.Get(t.Context(), client.ObjectKey{Name: "tulle"}, m); err != nil {
			return err
		}
		u := m.Status.Upgrade
		switch {
		case u == nil:
			return fmt.Errorf("no upgrade yet: %+v", m.Status.Conditions)
		case u.Phase == v1alpha1.PhaseRolledBack:
			t.Fatalf("rolled back: %+v", u)
		case u.Phase != v1alpha1.PhaseCompleted:
			return fmt.Errorf("%s %d/%d, %d of %d proxies: %s", u.Phase, u.Wave, u.Waves, u.Replaced, u.Proxies, u.Message)
		}
		return nil
	})
	serves(t, c.Mesh(t, "tulle"), newer)
}

// replaced: all proxies are of the newer release, in the pods that were there before.
func replaced(t *testing.T, c *cluster.Cluster, before, after map[string]map[string]corev1.Pod) {
	t.Helper()
	for app := range applications() {
		same(t, app, before[app], after[app])
		images(t, after[app], "dev")
		for name, p := range after[app] {
			if got := p.Labels[names.LabelVersion]; got != newer {
				t.Errorf("%s carries %s", name, got)
			}
		}
	}
	cluster.Eventually(t, time.Minute, "the older control plane is gone", func() error {
		if left := c.Pods(t, system, names.LabelRevision+"="+names.RevisionOf(older)); len(left) > 0 {
			return fmt.Errorf("%d pods", len(left))
		}
		return nil
	})
}

// same: the pods are those that were there before, no application was restarted and no pod turned NotReady.
func same(t *testing.T, app string, before, after map[string]corev1.Pod) {
	t.Helper()
	if len(before) != len(after) || len(before) == 0 {
		t.Errorf("%s: %d pods, before %d", app, len(after), len(before))
	}
	for name, old := range before {
		now, there := after[name]
		if !there || now.UID != old.UID {
			t.Errorf("%s: pod %s has gone", app, name)
			continue
		}
		for _, s := range now.Status.ContainerStatuses {
			if s.RestartCount > 0 {
				t.Errorf("container %s of %s was restarted %d times", s.Name, name, s.RestartCount)
			}
		}
		if a, b := ready(old), ready(now); a.Status != b.Status || !a.LastTransitionTime.Equal(&b.LastTransitionTime) {
			t.Errorf("%s: Ready was %+v, and is %+v", name, a, b)
		}
	}
}

func ready(p corev1.Pod) corev1.PodCondition {
	i := slices.IndexFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady })
	if i < 0 {
		return corev1.PodCondition{}
	}
	return p.Status.Conditions[i]
}

// images: all that is Tulle's in these pods has the tag.
func images(t *testing.T, pods map[string]corev1.Pod, tag string) {
	t.Helper()
	for name, p := range pods {
		found := 0
		for _, k := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
			repository, got, _ := strings.Cut(k.Image, ":")
			if repository != "tulle.local/tulle" && repository != "tulle.local/tulle-proxy" {
				continue
			}
			// What a pod began with stays what it was; nothing of it runs any more.
			if k.RestartPolicy == nil && k.Name != names.ContainerControlPlane {
				continue
			}
			found++
			if got != tag {
				t.Errorf("%s: container %s is of %s, want %s", name, k.Name, k.Image, tag)
			}
		}
		if found == 0 {
			t.Errorf("%s: nothing of Tulle's is in it", name)
		}
	}
}
