// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package routes

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// together is the time between two requests of all who ask. A thousand a second would take a fifth of a
// machine with two cores, and the edits would take half as long again: what is measured is to be an idle
// cluster, and not the asking. So who is one of many asks the more seldom.
const together = 3 * time.Millisecond

// atRest is the share of the CPU time of which less is in use when nothing but the asking goes on.
const atRest = 0.5

// clients is a Deployment of pods in the mesh that ask for the route of Service server, each by its own
// proxy.
const clients = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: poll
        image: tulle.local/poll:%[3]s
        imagePullPolicy: IfNotPresent
        args: ["-every", "%[4]s", "` + edited + ` http://server` + asked + `"]
        resources: {requests: {cpu: 10m}}
`

// outside is a pod without a proxy, which asks for the Gateway's routes at each of its pods; its
// arguments follow.
const outside = `
apiVersion: v1
kind: Pod
metadata: {name: outside, namespace: %[1]s, labels: {app: outside, ` + names.LabelInject + `: ` + names.InjectDisabled + `}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: poll
    image: tulle.local/poll:%[2]s
    imagePullPolicy: IfNotPresent
    args: %[3]s
    resources: {requests: {cpu: 10m}}
`

// pollers read what the pods say that ask.
type pollers struct {
	b       *board
	running sync.WaitGroup
	stop    context.CancelFunc
	targets map[string][]string // by route
}

// targetOf names who is asked about what: a proxy, by the pod that asks or is asked, and a route.
func targetOf(proxy, route string) string { return proxy + "/" + route }

// follow begins to read the log of a pod. who is the proxy it asks by itself; empty where its targets
// name proxies and routes themselves.
func (p *pollers) follow(ctx context.Context, c *cluster.Cluster, pod corev1.Pod, who string) {
	p.running.Go(func() {
		err := p.read(ctx, c, pod, who)
		if ctx.Err() == nil { // else nobody wants to know any more
			p.b.fail(fmt.Sprintf("the log of %s ended: %v", pod.Name, err))
		}
	})
}

func (p *pollers) read(ctx context.Context, c *cluster.Cluster, pod corev1.Pod, who string) error {
	log, err := c.Kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: "poll", Follow: true}).Stream(ctx)
	if err != nil {
		return err
	}
	defer log.Close()
	lines := json.NewDecoder(log)
	for {
		var line struct { // as test/apps/poll writes it
			Target, Answer string
			At, Before     int64
		}
		if err := lines.Decode(&line); err != nil {
			return err
		}
		target := line.Target
		if who != "" {
			target = targetOf(who, target)
		}
		var before time.Time
		if line.Before > 0 {
			before = time.Unix(0, line.Before)
		}
		p.b.answer(target, line.Answer, time.Unix(0, line.At), before)
	}
}

// end stops reading, so that what breaks by the taking down is not held against anybody, and takes
// away those that ask.
func (w *world) end(t *testing.T, p *pollers) {
	t.Helper()
	p.stop()
	p.running.Wait()
	if err := client.IgnoreNotFound(w.Delete(t.Context(), deployment(w.ns, "client"), client.PropagationPolicy(metav1.DeletePropagationBackground))); err != nil {
		t.Fatal(err)
	}
	w.removePods(t, "app", "client")
	w.removePods(t, "app", "outside")
}

// poll begins to ask about routes, each known by the URL to ask for: at each pod of the Gateway from
// outside of the mesh, and the first of the routes from n pods of the mesh. It returns once all of them
// have had an answer.
func (w *world) poll(t *testing.T, n int, routes []string, url func(route string) string) *pollers {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p := &pollers{b: w.board, stop: stop, targets: map[string][]string{}}
	gateways := w.gatewayPods(t)
	every := together * time.Duration(n+len(gateways)*len(routes))
	args := []string{"-every", every.String()}
	for _, pod := range gateways {
		for _, r := range routes {
			target := targetOf(pod.Name, r)
			args = append(args, fmt.Sprintf("%s %s %s:80", target, url(r), pod.Status.PodIP))
			p.targets[r] = append(p.targets[r], target)
		}
	}
	quoted, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	w.MustApply(t, outside, w.ns, cluster.Tag(), quoted)
	asking := map[string]corev1.Pod{} // by the proxy it asks by itself
	cluster.Eventually(t, time.Minute, "the pod outside runs", func() error {
		pod := corev1.Pod{}
		if err := w.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "outside"}, &pod); err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("it is %s", pod.Status.Phase)
		}
		asking[""] = pod
		return nil
	})
	if n > 0 {
		w.MustApply(t, clients, w.ns, n, cluster.Tag(), every)
		w.Ready(t, w.ns, "client")
		for _, pod := range w.Pods(t, w.ns, "app=client") {
			asking[pod.Name] = pod
			p.targets[routes[0]] = append(p.targets[routes[0]], targetOf(pod.Name, routes[0]))
		}
	}
	for _, targets := range p.targets {
		w.board.forget(targets)
	}
	for who, pod := range asking {
		p.follow(ctx, w.Cluster, pod, who)
	}
	w.board.await(t, time.Minute, "all proxies answer", func() string {
		var missing []string
		for _, targets := range p.targets {
			for _, target := range targets {
				if w.board.last[target] == 0 {
					missing = append(missing, target)
				}
			}
		}
		return strings.Join(missing, " ")
	})
	cluster.Eventually(t, time.Minute, "the machine is at rest after the pods have started", func() error {
		if busy := busyShare(t); busy >= atRest {
			return fmt.Errorf("%.0f %% of its CPU time is in use", 100*busy)
		}
		return nil
	})
	return p
}
