// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/testing/cluster"
)

// careful is a pod with all that injection must keep working: an init container that uses the
// network, a sidecar of its own, every kind of probe, lifecycle hooks, and as few rights as there are.
const careful = `
apiVersion: v1
kind: Pod
metadata: {name: careful, namespace: %[1]s, labels: {app: careful}}
spec:
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  initContainers:
  - name: before
    image: tulle.local/echo:%[2]s
    imagePullPolicy: IfNotPresent
    command: [/dial, http, -timeout, 20s, "http://server/"]
    securityContext: &few {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
  - name: beside
    image: tulle.local/echo:%[2]s
    imagePullPolicy: IfNotPresent
    restartPolicy: Always
    args: [-name, beside, -http, ":8082", -ready-after, 2s]
    startupProbe: {httpGet: {path: /healthz, port: 8082}, periodSeconds: 1, failureThreshold: 60}
    securityContext: *few
  containers:
  - name: app
    image: tulle.local/echo:%[2]s
    imagePullPolicy: IfNotPresent
    args: [-name, careful, -http, ":8080", -grpc, ":9090", -tcp, ":7000", -exit-at-once]
    ports: [{name: web, containerPort: 8080}]
    startupProbe: {tcpSocket: {port: 7000}, periodSeconds: 1, failureThreshold: 60}
    readinessProbe: {httpGet: {path: /hit/readiness, port: web, httpHeaders: [{name: X-Probe, value: "yes"}]}, periodSeconds: 1}
    livenessProbe: {grpc: {port: 9090}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 10}
    lifecycle: {postStart: {httpGet: {path: /hit/started, port: 8082}}, preStop: {httpGet: {path: /delay/6s, port: web}}}
    securityContext: *few
  - name: wrong
    image: tulle.local/echo:%[2]s
    imagePullPolicy: IfNotPresent
    args: [-name, wrong, -http, ":8083"]
    readinessProbe: {tcpSocket: {port: 7999}, periodSeconds: 1}
    livenessProbe: {httpGet: {path: /healthz, port: 8083}, periodSeconds: 1, failureThreshold: 10}
    securityContext: *few
`

// job ends when its one exchange has.
const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: %[1]s}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {app: once}}
    spec:
      restartPolicy: Never
      containers: [{name: app, image: "tulle.local/echo:%[2]s", imagePullPolicy: IfNotPresent, command: [/dial, http, -timeout, 20s, "http://server/"]}]
`

// TestInjection: a pod that gets a proxy is otherwise the pod it was.
func TestInjection(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "injection", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")
	c.MustApply(t, careful+"---"+job, ns, cluster.Tag())

	t.Run("Job", func(t *testing.T) {
		cluster.Eventually(t, 2*time.Minute, "Job complete", func() error {
			j := &batchv1.Job{}
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "once"}, j); err != nil {
				return err
			}
			if j.Status.Succeeded != 1 {
				return fmt.Errorf("status: %+v", j.Status)
			}
			return nil
		})
		reachedServer(t, c, podOf(t, c, ns, "once").pod, "app", ns)
	})
	t.Run("probes and hooks", func(t *testing.T) { probes(t, c, ns) })
	t.Run("strangers", func(t *testing.T) { strangers(t, c, ns) })
	t.Run("preStop", func(t *testing.T) {
		f := from{c, ns, "careful"}
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: f.pod}}
		if err := c.Delete(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		// The app exits at once on SIGTERM, so it lives as long as its hook, and no longer.
		began := time.Now()
		cluster.Eventually(t, 25*time.Second, "the app ends", func() error {
			if d, err := f.tryDial(t.Context(), "http", "-timeout", "2s", "http://127.0.0.1:8080/"); err == nil && d.Error == "" {
				return fmt.Errorf("it still answers")
			}
			return nil
		})
		if took := time.Since(began); took < 5*time.Second {
			t.Errorf("the app ended after %v, its hook takes 6s", took)
		}
	})
}

// reachedServer reads what a container's one exchange was.
func reachedServer(t *testing.T, c *cluster.Cluster, pod, container, ns string) {
	t.Helper()
	var d dialed
	log := c.Logs(t.Context(), ns, pod, container, 0)
	if err := json.Unmarshal([]byte(log), &d); err != nil || d.Status != 200 || d.Report.Caller != spiffe(ns, "default") {
		t.Errorf("container %s of %s: %s, %v", container, pod, log, err)
	}
}

func probes(t *testing.T, c *cluster.Cluster, ns string) {
	p := &corev1.Pod{}
	cluster.Eventually(t, 2*time.Minute, "container app ready", func() error {
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "careful"}, p); err != nil {
			return err
		}
		for _, s := range p.Status.ContainerStatuses {
			if s.Name == "app" && s.Ready {
				return nil
			}
		}
		return fmt.Errorf("%+v", p.Status.ContainerStatuses)
	})
	reachedServer(t, c, p.Name, "before", ns)
	f := from{c, ns, p.Name}
	if d := f.get(t, "http://127.0.0.1:8082/hits"); !strings.Contains(d.Text, `"started":1`) {
		t.Errorf("postStart: %s", d.Text)
	}
	if d := f.get(t, "http://127.0.0.1:8080/hits"); !strings.Contains(d.Text, `"readiness":`) {
		t.Errorf("readiness: %s", d.Text)
	}
	// A probe that must fail: the agent answers with what the application says, not for it.
	cluster.Eventually(t, 30*time.Second, "the wrong probe fails", func() error {
		l := &corev1.EventList{}
		if err := c.List(t.Context(), l, client.InNamespace(ns)); err != nil {
			return err
		}
		for _, e := range l.Items {
			if e.Reason == "Unhealthy" && e.InvolvedObject.Name == p.Name && strings.Contains(e.InvolvedObject.FieldPath, "{wrong}") {
				return nil
			}
		}
		return fmt.Errorf("none of %d events says so", len(l.Items))
	})
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Status.ContainerStatuses {
		if s.RestartCount > 0 || s.Ready != (s.Name == "app") {
			t.Errorf("container %s: ready %v, %d restarts", s.Name, s.Ready, s.RestartCount)
		}
	}
	for _, container := range p.Spec.Containers {
		if sc := container.SecurityContext; sc == nil || !*sc.ReadOnlyRootFilesystem {
			t.Errorf("the security context of %s is not what it was: %+v", container.Name, sc)
		}
	}
}

// strangers asks the agent from outside the mesh for the pod's hooks and probes, as a client that has not read the
// pod can. In Strict the port is open as well: the kubelet has no certificate.
func strangers(t *testing.T, c *cluster.Cluster, ns string) {
	p := &corev1.Pod{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "careful"}, p); err != nil {
		t.Fatal(err)
	}
	f := from{c, ns, p.Name}
	before := f.get(t, "http://127.0.0.1:8082/hits").Text
	outside := c.Namespace(t, "strangers")
	c.Deploy(t, outside, cluster.Echo{Name: "stranger"})
	c.Ready(t, outside, "stranger")
	stranger := from{c, outside, c.Pods(t, outside, "app=stranger")[0].Name}
	agent := "http://" + p.Status.PodIP + ":15020"
	for _, path := range []string{
		protocol.GuessablePath("app", "preStop"), protocol.GuessablePath("beside", "postStart"), protocol.GuessablePath("app", "liveness"),
		protocol.ProbePath(strings.Repeat("0", 32), "app", "preStop"),
	} {
		if d := stranger.dial(t, "http", agent+path); d.Status != 404 {
			t.Errorf("a stranger gets %d for %s: %s", d.Status, path, d.Text)
		}
	}
	if after := f.get(t, "http://127.0.0.1:8082/hits").Text; after != before {
		t.Errorf("hits before: %s; after: %s", before, after)
	}
	live := p.Spec.Containers[0].LivenessProbe.HTTPGet.Path
	if d := stranger.dial(t, "http", agent+live); protocol.ProbeToken(live) == "" || d.Status != 200 {
		t.Errorf("who has read the pod gets %d for %s: %s", d.Status, live, d.Text)
	}
}

// warnings are what the API server warns of.
type warnings struct {
	mu   sync.Mutex
	text []string // guarded by mu
}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

// TestInjectionDecisions: who gets a proxy, who gets none, and who is refused with which words. The
// API server is asked for a dry run: it calls the webhook and starts nothing.
func TestInjectionDecisions(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	in, out := c.Namespace(t, "decisions", meshed), c.Namespace(t, "decisions")
	restricted := c.Namespace(t, "decisions", meshed, "pod-security.kubernetes.io/enforce=restricted")
	baseline := c.Namespace(t, "decisions", "pod-security.kubernetes.io/enforce=baseline")
	seven := int64(names.ProxyUID)
	label := func(v string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Labels = map[string]string{names.LabelInject: v} }
	}
	annotation := func(k, v string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Annotations = map[string]string{k: v} }
	}
	for _, k := range []struct {
		name, ns string
		change   func(*corev1.Pod)
		injected bool
		warned   string
		refused  []string
	}{
		{name: "plain", ns: in, change: func(*corev1.Pod) {}, injected: true},
		{name: "opt-out", ns: in, change: label("disabled")},
		{name: "outside", ns: out, change: func(*corev1.Pod) {}},
		{name: "opt-in", ns: out, change: label("enabled"), injected: true},
		{name: "label without meaning", ns: in, change: label("yes"), refused: []string{names.LabelInject, `"yes"`, "enabled"}},
		{name: "known annotation", ns: in, change: annotation(names.AnnotationExcludeInboundPorts, "8125, 9000"), injected: true},
		{
			name: "unknown annotation", ns: in, change: annotation("tulle.dev/proxy-image", "mine"),
			refused: []string{"tulle.dev/proxy-image", `"mine"`, names.AnnotationProxyLogLevel},
		},
		{
			name: "unreadable annotation", ns: in, change: annotation(names.AnnotationExcludeOutboundPorts, "http"),
			refused: []string{names.AnnotationExcludeOutboundPorts, `"http"`, "ports"},
		},
		{name: "hostNetwork", ns: in, change: func(p *corev1.Pod) { p.Spec.HostNetwork = true }, warned: "hostNetwork"},
		{name: "the proxy's user", ns: in, change: func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: &seven}
		}, refused: []string{"container app", "1337"}},
		{name: "the proxy's user for the pod", ns: in, change: func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &seven}
		}, refused: []string{"the pod", "1337"}},
		{name: "the proxy's name", ns: in, change: func(p *corev1.Pod) { p.Spec.Containers[0].Name = names.ContainerSlotA }, refused: []string{names.ContainerSlotA, "rename"}},
		{name: "the label of a Gateway's pod", ns: in, change: func(p *corev1.Pod) {
			p.Labels = map[string]string{names.LabelProxy: names.KindGateway}
		}, refused: []string{names.LabelProxy + "=gateway", names.LabelInject + "=disabled"}},
		{name: "restricted", ns: restricted, change: func(*corev1.Pod) {}, refused: []string{restricted, "Pod Security", "NET_ADMIN", "privileged"}},
		{name: "baseline, asked for by the pod", ns: baseline, change: label("enabled"), refused: []string{baseline, "Pod Security"}},
		{name: "baseline, outside", ns: baseline, change: func(*corev1.Pod) {}},
	} {
		t.Run(k.name, func(t *testing.T) {
			w := &warnings{}
			cfg := rest.CopyConfig(c.Config)
			cfg.WarningHandlerWithContext = w
			kube, err := kubernetes.NewForConfig(cfg)
			if err != nil {
				t.Fatal(err)
			}
			p := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "pod"},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "tulle.local/echo:dev"}}},
			}
			k.change(p)
			var got *corev1.Pod
			cluster.Eventually(t, 20*time.Second, "the control plane and the service account controller know the namespace", func() error {
				got, err = kube.CoreV1().Pods(k.ns).Create(t.Context(), p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
				if err != nil && (strings.Contains(err.Error(), "try again") || strings.Contains(err.Error(), "serviceaccount")) {
					return err
				}
				return nil
			})
			if len(k.refused) > 0 {
				for _, word := range k.refused {
					if err == nil || !strings.Contains(err.Error(), word) {
						t.Errorf("%v, want a refusal with %q", err, word)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			injected := slices.ContainsFunc(got.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == names.ContainerSlotA })
			if injected != k.injected {
				t.Errorf("has a proxy: %v, want %v", injected, k.injected)
			}
			if text := strings.Join(w.text, "; "); !strings.Contains(text, k.warned) || k.warned == "" && strings.Contains(text, "Tulle") {
				t.Errorf("warned of %q, want %q", text, k.warned)
			}
		})
	}
}
