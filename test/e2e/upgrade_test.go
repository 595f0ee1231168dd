// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/testing/cluster"
)

// The release that this tree builds, and the one before, whose images hack/images builds from its commit.
const (
	older = "0.2.0"
	newer = "0.3.0"
)

// full tells whether the long forms run (make test-lifecycle).
func full() bool { return os.Getenv("TULLE_FULL") != "" }

// fleet is how many pods of each workload an upgrade is tried with.
func fleet() map[string]int {
	if full() {
		return map[string]int{"server": 8, "second": 6, "third": 4, "single": 1}
	}
	return map[string]int{"server": 4, "second": 3, "single": 1}
}

// deployFleet deploys it, and waits until it is ready.
func deployFleet(t *testing.T, c *cluster.Cluster, ns string) {
	t.Helper()
	for name, n := range fleet() {
		c.Deploy(t, ns, cluster.Echo{
			Name: name, Replicas: n, Args: []string{"-tcp", ":9000"},
			Ports: "[{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 9090, targetPort: 9090}, {name: tcp, port: 9000, targetPort: 9000}]",
		})
	}
	for name := range fleet() {
		c.Ready(t, ns, name)
	}
}

// hasty is an upgrade that doesn't wait longer than a test can.
func hasty(m *v1alpha1.Mesh) {
	third := intstr.FromString("34%")
	m.Spec.Upgrade.MaxUnavailable = &third
	m.Spec.Upgrade.Soak = metav1.Duration{Duration: 5 * time.Second}
	// A machine that does all of this at once is slow now and then, with either release.
	slow := int32(10000)
	m.Spec.Upgrade.Gates.MaxSlowdownPercent = &slow
	m.Spec.Upgrade.DataPlane = v1alpha1.DataPlaneInPlace
}

// upgraded waits until the Mesh says that its change of the version has ended in the phase.
func upgraded(t *testing.T, c *cluster.Cluster, version string, phase v1alpha1.UpgradePhase, limit time.Duration) *v1alpha1.Mesh {
	t.Helper()
	m := &v1alpha1.Mesh{}
	said := ""
	cluster.Eventually(t, limit, "the mesh is "+string(phase)+", to "+version, func() error {
		if err := c.Get(t.Context(), client.ObjectKey{Name: meshName()}, m); err != nil {
			return err
		}
		u := m.Status.Upgrade
		if u == nil {
			return fmt.Errorf("no upgrade yet: %+v", m.Status.Conditions)
		}
		if say := fmt.Sprintf("%s %d/%d, %d of %d proxies: %s", u.Phase, u.Wave, u.Waves, u.Replaced, u.Proxies, u.Message); say != said {
			said = say
			t.Log(time.Now().UTC().Format("15:04:05"), say)
		}
		if u.To != version || m.Status.ObservedGeneration != m.Generation {
			return fmt.Errorf("%+v", u)
		}
		if u.Finished != nil && u.Phase != phase {
			t.Fatalf("ended otherwise: %+v", u)
		}
		if u.Phase != phase {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
	return m
}

// bystanders are the pods whose applications must not notice.
func bystanders(t *testing.T, c *cluster.Cluster, ns string) map[string]corev1.Pod {
	t.Helper()
	out := map[string]corev1.Pod{}
	for name := range fleet() {
		for _, p := range c.Pods(t, ns, "app="+name) {
			out[p.Name] = p
		}
	}
	return out
}

// unmoved compares pods with what they were: no application container was restarted, and the Ready
// condition never changed.
func unmoved(t *testing.T, before, after map[string]corev1.Pod) {
	t.Helper()
	for name, old := range before {
		now, ok := after[name]
		if !ok || now.UID != old.UID {
			t.Errorf("pod %s has gone", name)
			continue
		}
		for _, s := range now.Status.ContainerStatuses {
			if s.RestartCount > 0 {
				t.Errorf("container %s of %s was restarted %d times", s.Name, name, s.RestartCount)
			}
		}
		for _, kind := range []corev1.PodConditionType{corev1.PodReady, corev1.ContainersReady} {
			if a, b := condition(old, kind), condition(now, kind); a.Status != b.Status || !a.LastTransitionTime.Equal(&b.LastTransitionTime) {
				t.Errorf("%s of %s changed: %+v, before %+v", kind, name, b, a)
			}
		}
	}
}

func condition(p corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	i := slices.IndexFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind })
	if i < 0 {
		return corev1.PodCondition{}
	}
	return p.Status.Conditions[i]
}

// carry checks which release the pods' proxies are of: by label, by image of the slot that was
// ordered, and by what the standby has.
func carry(t *testing.T, c *cluster.Cluster, pods map[string]corev1.Pod, version string) {
	t.Helper()
	for name, p := range pods {
		if got := p.Labels[names.LabelVersion]; got != version {
			t.Errorf("%s carries %s, want %s", name, got, version)
		}
		images := map[string]bool{}
		for _, k := range p.Spec.InitContainers {
			if k.Name == names.ContainerSlotA || k.Name == names.ContainerSlotB {
				images[k.Image] = true
			}
		}
		if len(images) != 1 {
			t.Errorf("the slots of %s have different images: %v", name, images)
		}
		weighed(t, c, p)
	}
}

// weighed checks that the slot that serves asks for most of what the proxy was given, where that can be.
func weighed(t *testing.T, c *cluster.Cluster, p corev1.Pod) {
	t.Helper()
	if !resizable(t, c) {
		return
	}
	target := protocol.Target{Slot: "a"}
	if v := p.Annotations[names.AnnotationTarget]; v != "" {
		if err := json.Unmarshal([]byte(v), &target); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{container(target.Slot): "38m 80Mi"}
	for _, k := range p.Spec.InitContainers {
		if k.Name != names.ContainerSlotA && k.Name != names.ContainerSlotB {
			continue
		}
		got := k.Resources.Requests.Cpu().String() + " " + k.Resources.Requests.Memory().String()
		if want := cmp.Or(want[k.Name], "12m 16Mi"); got != want {
			t.Errorf("%s of %s, whose slot %s serves, asks for %s, want %s", k.Name, p.Name, target.Slot, got, want)
		}
	}
}

// resizable tells whether the API server serves pods/resize.
func resizable(t *testing.T, c *cluster.Cluster) bool {
	t.Helper()
	list, err := c.Kube.Discovery().ServerResourcesForGroupVersion("v1")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == "pods/resize" })
}

// loads are requests of all kinds, from inside; none of them may fail.
func loads(t *testing.T, c *cluster.Cluster, ns string) map[string]*cluster.Run {
	run := func(meshed bool, workers, url string, args ...string) *cluster.Run {
		return c.Load(t, ns, meshed, append(args, "-url", url, "-method", "POST", "-rate", rate(args), "-duration", "20m", "-workers", workers)...)
	}
	return map[string]*cluster.Run{
		"HTTP/1.1, kept alive":        run(true, "16", "http://server/"),
		"HTTP/1.1, new connections":   run(true, "16", "http://server/", "-new-connections"),
		"HTTP/2":                      run(true, "16", "http://second/", "-h2"),
		"gRPC":                        run(true, "16", "grpc://server:9090/echo.Echo/Call"),
		"single":                      run(true, "16", "http://single/", "-new-connections"),
		"no proxy of its own, single": run(false, "16", "http://single/", "-new-connections"),
		// Longer than it takes to tell a slot to go, and shorter than its connections may take.
		"held, TCP":  run(true, "6", "tcp://server:9000", "-hold", "20s"),
		"held, gRPC": run(true, "6", "grpc://second:9090/echo.Echo/Calls", "-hold", "20s"),
	}
}

// rate is what a load sends in a second. The long form is long: two cores that carry it and replace
// 26 proxies at once are to be busy, and not behind for minutes.
func rate(args []string) string {
	if full() && !slices.Contains(args, "-new-connections") {
		return "30"
	}
	return "60"
}

// sending waits until all of the loads send.
func sending(t *testing.T, runs map[string]*cluster.Run) {
	t.Helper()
	for name, r := range runs {
		n := 200
		if strings.HasPrefix(name, "held") {
			n = 6
		}
		r.Sent(t, n)
	}
}

// unfailed looks at what became of the loads until now, and tells how many requests there were, and how
// many of them had a connection of their own.
func unfailed(t *testing.T, runs map[string]*cluster.Run) (sent, fresh int) {
	t.Helper()
	for name, run := range runs {
		s, ok := run.Progress(t.Context())
		if !ok {
			t.Errorf("%s: nothing is known of it", name)
			continue
		}
		if s.Failed > 0 {
			t.Errorf("%s: %d of %d requests failed: %v", name, s.Failed, s.Sent, s.Failures)
		}
		t.Logf("%s: %d sent, %d failed, slowest %v", name, s.Sent, s.Failed, s.Max)
		sent += s.Sent
		if strings.Contains(name, "new connections") || strings.Contains(name, "single") {
			fresh += s.Sent
		}
	}
	return sent, fresh
}

// TestUpgrade goes to the release before and back, under load: no request fails, no application is
// restarted, no pod turns NotReady, and in the end every proxy is of the release asked for. On the way
// there the API server is away for a while, on the way back the operator that leads is killed again and
// again: another one goes on where it was. In the long form the root is replaced meanwhile, too.
func TestUpgrade(t *testing.T) {
	c := cluster.Connect(t)
	c.Mesh(t, meshName())
	ns := c.Namespace(t, "upgrade", meshed)
	deployFleet(t, c, ns)
	before := bystanders(t, c, ns)
	runs := loads(t, c, ns)
	// From outside, through a Gateway, whose own proxies are deployed anew at the end.
	c.MustApply(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: %[1]s}
spec: {gatewayClassName: tulle, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front, namespace: %[1]s}
spec: {parentRefs: [{name: front}], rules: [{backendRefs: [{name: server, port: 80}]}]}
`, ns)
	front := "http://" + gatewayAddress(t, c, ns, "front") + "/"
	answering(t, front)
	for name, args := range map[string][]string{"Gateway, kept alive": nil, "Gateway, new connections": {"-new-connections"}} {
		runs[name] = c.Load(t, ns, false, append(args, "-url", front, "-method", "POST", "-rate", rate(args), "-duration", "20m", "-workers", "16")...)
	}
	sending(t, runs)
	edit(t, c, hasty)
	replicate(t, c, 2)
	var rotating time.Time
	for _, version := range []string{older, newer} {
		began := time.Now()
		edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = version })
		var stop func()
		if version == older {
			stop = withoutAPIServer(t, c)
		} else {
			stop = killingLeaders(t, c)
		}
		if full() && version == newer {
			skew(t, c, 10*time.Second)
			rotating = time.Now()
			rotateRoot(t, c, rotating.UTC().Format(time.RFC3339Nano))
		}
		m := upgraded(t, c, version, v1alpha1.PhaseCompleted, 10*time.Minute)
		stop()
		t.Logf("to %s in %v; gates: %+v", version, time.Since(began).Round(time.Second), m.Status.Upgrade.Gates)
		if up := apimeta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionUpgraded); up == nil || up.Status != metav1.ConditionTrue {
			t.Errorf("condition Upgraded: %+v", up)
		}
		after := bystanders(t, c, ns)
		carry(t, c, after, version)
		unmoved(t, before, after)
		gone(t, c, map[string]string{older: newer, newer: older}[version])
	}
	if full() {
		rotated(t, c, rotating, 5*time.Minute)
	}
	least := 10000
	if full() {
		least = 100000
	}
	if sent, fresh := unfailed(t, runs); fresh < least {
		t.Errorf("only %d of %d requests had a connection of their own, want %d", fresh, sent, least)
	}
}

// gone checks that nothing of a release's control plane is left.
func gone(t *testing.T, c *cluster.Cluster, version string) {
	t.Helper()
	revision := names.RevisionOf(version)
	cluster.Eventually(t, time.Minute, "the control plane of "+version+" has gone", func() error {
		var pods corev1.PodList
		if err := c.List(t.Context(), &pods, client.InNamespace(names.SystemNamespace), client.MatchingLabels{names.LabelRevision: revision}); err != nil {
			return err
		}
		if len(pods.Items) > 0 {
			return fmt.Errorf("%d pods are left", len(pods.Items))
		}
		return nil
	})
}

// TestBadReleases: a release whose image does not exist is stopped before anything is touched, and one
// whose proxy never takes over (it says that it is another version) is rolled back by itself; nothing of
// the workloads notices.
func TestBadReleases(t *testing.T) {
	c := cluster.Connect(t)
	c.Mesh(t, meshName())
	withReleases(t, c)
	ns := c.Namespace(t, "badrelease", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: 3})
	c.Deploy(t, ns, cluster.Echo{Name: "single"})
	c.Ready(t, ns, "server", "single")
	edit(t, c, hasty)
	pods := func() map[string]corev1.Pod {
		out := map[string]corev1.Pod{}
		for _, name := range []string{"server", "single"} {
			for _, p := range c.Pods(t, ns, "app="+name) {
				out[p.Name] = p
			}
		}
		return out
	}
	before := pods()
	run := c.Load(t, ns, false, "-url", "http://single/", "-method", "POST", "-new-connections", "-rate", "50", "-duration", "20m", "-workers", "16")
	run.Sent(t, 100)

	t.Run("an image that can't be pulled", func(t *testing.T) {
		edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = "0.3.1" })
		cluster.Eventually(t, 2*time.Minute, "the preflight says so", func() error {
			m := &v1alpha1.Mesh{}
			if err := c.Get(t.Context(), client.ObjectKey{Name: meshName()}, m); err != nil {
				return err
			}
			u := m.Status.Upgrade
			if u == nil || u.Phase != v1alpha1.PhasePreflight || !strings.Contains(u.Message, "tulle-proxy:nowhere") || !strings.Contains(u.Message, "Image") {
				return fmt.Errorf("%+v", u)
			}
			return nil
		})
		edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = newer })
		upgradeOver(t, c)
	})
	t.Run("a proxy that never takes over", func(t *testing.T) {
		edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = "0.3.2" })
		m := upgraded(t, c, "0.3.2", v1alpha1.PhaseRolledBack, 6*time.Minute)
		if up := apimeta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionUpgraded); up == nil || up.Reason != v1alpha1.ReasonRolledBack || up.Message == "" {
			t.Errorf("condition Upgraded: %+v", up)
		}
		edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = newer })
		upgradeOver(t, c)
	})
	after := pods()
	carry(t, c, after, newer)
	for name, p := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("pod %s is new", name)
		}
		if condition(p, corev1.PodReady).Status != corev1.ConditionTrue {
			t.Errorf("pod %s is not Ready", name)
		}
	}
	s, _ := run.Progress(t.Context())
	noFailure(t, s, 1000)
}

// TestSwaps hands one busy pod's traffic from slot to slot and back, again and again: every request is
// a new connection, and none fails.
func TestSwaps(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "swaps", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")
	rate, swaps := "300", 4
	if full() {
		rate, swaps = "600", 10
	}
	runs := map[string]*cluster.Run{}
	for name, args := range map[string][]string{"new connections": {"-new-connections"}, "kept alive": nil, "HTTP/2": {"-h2"}} {
		runs[name] = c.Load(t, ns, name != "new connections", append(args, "-url", "http://server/", "-method", "POST", "-rate", rate, "-duration", "30m", "-workers", "32")...)
		runs[name].Sent(t, 200)
	}
	for i := range swaps {
		pod := c.Pods(t, ns, "app=server")[0]
		order(t, c, &pod, []string{"b", "a"}[i%2], int64(i+1))
	}
	unfailed(t, runs)
}

// order tells a pod which slot is to be active, as the operator does, and waits until the other one
// stands by.
func order(t *testing.T, c *cluster.Cluster, pod *corev1.Pod, slot string, generation int64) {
	t.Helper()
	target, err := json.Marshal(protocol.Target{Slot: slot, Generation: generation})
	if err != nil {
		t.Fatal(err)
	}
	before := client.MergeFrom(pod.DeepCopy())
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[names.AnnotationTarget] = string(target)
	if err := c.Patch(t.Context(), pod, before); err != nil {
		t.Fatal(err)
	}
	other := map[string]string{"a": "b", "b": "a"}[slot]
	began := time.Now()
	cluster.Eventually(t, 2*time.Minute, "slot "+slot+" serves and slot "+other+" stands by", func() error {
		serves, stands := said(t, c, pod, slot), said(t, c, pod, other)
		if serves != fmt.Sprintf("Ready, generation %d", generation) || stands != fmt.Sprintf("Standby, generation %d", generation-1) {
			return fmt.Errorf("slot %s: %q, slot %s: %q", slot, serves, other, stands)
		}
		return nil
	})
	t.Logf("slot %s after %v", slot, time.Since(began).Round(100*time.Millisecond))
}

// said is the last that a slot said of its phase.
func said(t *testing.T, c *cluster.Cluster, pod *corev1.Pod, slot string) string {
	t.Helper()
	last := ""
	for line := range strings.Lines(c.Logs(t.Context(), pod.Namespace, pod.Name, "tulle-proxy-"+slot, 200)) {
		if _, phase, ok := strings.Cut(line, " slot "+slot+": "); ok {
			last = strings.Join(strings.Fields(phase)[:min(3, len(strings.Fields(phase)))], " ")
		}
	}
	return last
}

// upgradeOver waits until nothing is under way.
func upgradeOver(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	cluster.Eventually(t, 3*time.Minute, "no upgrade is under way", func() error {
		m := &v1alpha1.Mesh{}
		if err := c.Get(t.Context(), client.ObjectKey{Name: meshName()}, m); err != nil {
			return err
		}
		up := apimeta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionUpgraded)
		if up == nil || up.Status != metav1.ConditionTrue || m.Status.ObservedGeneration != m.Generation || m.Status.Version != m.Spec.Version {
			return fmt.Errorf("%+v, %+v", up, m.Status.Upgrade)
		}
		return nil
	})
}
