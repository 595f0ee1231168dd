// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/attack"
	"tulle.dev/tulle/test/load"
)

const (
	// attackTime is how long the data path is attacked, in each mode.
	attackTime = time.Minute
	// attackRate is what one pod of the attackers may send in a second, in small frames, when it floods (see
	// package attack), and attackCPU what it may take of a processor. More would measure how many processors
	// the node has: each request of an attack makes two proxies and an application work.
	attackRate = 8000
	attackCPU  = "60m"
	// clientRate is how many requests a second each of the clients makes that must not fail.
	clientRate = 10
	// demo is the namespace of the demo's shop, and the name of its Gateway.
	demo = "shop"
)

// TestAttacksOnTheDataPath: pods without any credentials attack a Gateway, a meshed pod, and the ports of
// their agents, in every way of package attack, all at the same time, for a minute in Permissive mode and for
// a minute in Strict. Meanwhile other pods make requests through the same Gateway and to the same meshed pod,
// and through the demo's Gateway if the demo is installed.
//
// No request of those fails, no container restarts, no pod becomes NotReady, the proxies' heaps stay below
// the limit from which they return memory, and the replicas of the control plane use at most twice the memory
// that they used before. Requests may take longer (up to the client's timeout of 10 s): attackers and victims
// share the node's processors.
//
// The test uses nothing of the product that release 0.2.0 does not have, and logs all figures before it
// checks them, so that it can be run for comparison against a cluster with that release.
func TestAttacksOnTheDataPath(t *testing.T) {
	c := cluster.Connect(t)
	b := newDataPath(t, c)
	t.Cleanup(func() { setMode(t, c, v1alpha1.MTLSPermissive) })
	for _, mode := range []v1alpha1.MTLSMode{v1alpha1.MTLSPermissive, v1alpha1.MTLSStrict} {
		t.Run(string(mode), func(t *testing.T) {
			setMode(t, c, mode)
			b.server.effective(t, mode)
			b.attackAll(t, mode)
		})
	}
}

// dataPath is what is attacked.
type dataPath struct {
	c *cluster.Cluster
	// ns has the victims and the clients whose requests must not fail.
	ns      string
	server  victim
	gateway victim
	// shop is the pod of the demo's Gateway; nil if the demo is not installed.
	shop *victim
}

// victim is a pod with a proxy. Its address is that of its Service, if others call that.
type victim struct {
	corev1.Pod
	address string
}

func newDataPath(t *testing.T, c *cluster.Cluster) dataPath {
	t.Helper()
	b := dataPath{c: c, ns: c.Namespace(t, "attacked", meshed)}
	// Without a request of its own the app would get the least of a processor that proxies and attackers share.
	c.Deploy(t, b.ns, cluster.Echo{Name: "server", CPU: "300m"})
	c.MustApply(t, secret(b.ns, "edge", newAuthority(t).issue(t, "www.example.com", day)))
	c.MustApply(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: %[1]s}
spec:
  gatewayClassName: tulle
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: edge}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: edge, namespace: %[1]s}
spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: server, port: 80}]}]}
`, b.ns)
	c.Ready(t, b.ns, "server")
	b.server = victim{c.Pods(t, b.ns, "app=server")[0], ""}
	b.gateway = gatewayVictim(t, c, b.ns, "edge")
	answering(t, "http://"+b.gateway.address+"/")
	answering(t, "https://"+b.gateway.address+"/")
	err := c.Get(t.Context(), client.ObjectKey{Namespace: demo, Name: demo}, &gwapiv1.Gateway{})
	switch {
	case err == nil:
		shop := gatewayVictim(t, c, demo, demo)
		b.shop = &shop
	case !apierrors.IsNotFound(err):
		t.Fatal(err)
	}
	t.Logf("the demo is attacked too: %v", b.shop != nil)
	return b
}

// gatewayVictim waits until a Gateway is programmed. Its address is the one inside of the cluster, which
// leaves the addresses of clients as they are.
func gatewayVictim(t *testing.T, c *cluster.Cluster, ns, name string) victim {
	t.Helper()
	gatewayAddress(t, c, ns, name)
	pods := c.Pods(t, ns, names.LabelGateway+"="+name)
	if len(pods) == 0 {
		t.Fatalf("Gateway %s/%s has no pod", ns, name)
	}
	svc := &corev1.Service{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: names.GatewayResource(name)}, svc); err != nil {
		t.Fatal(err)
	}
	return victim{pods[0], svc.Spec.ClusterIP}
}

// port is a port of the pod.
func (v victim) port(port string) string { return net.JoinHostPort(v.Status.PodIP, port) }

// effective waits until the pod answers plaintext, or does not, as a mode says.
func (v victim) effective(t *testing.T, mode v1alpha1.MTLSMode) {
	t.Helper()
	cluster.Eventually(t, 30*time.Second, string(mode)+" in effect", func() error {
		s, err := load.Run(t.Context(), load.Options{URL: "http://" + v.port("8080") + "/", Count: 10, NewConnections: true, Timeout: 2 * time.Second})
		if err != nil {
			return err
		}
		if want := map[v1alpha1.MTLSMode]int{v1alpha1.MTLSPermissive: s.Sent}[mode]; s.OK != want {
			return fmt.Errorf("%d of %d plaintext requests were answered", s.OK, s.Sent)
		}
		return nil
	})
}

// targets are the ports that each pod of the attackers attacks, as the command intruder takes them.
func (b dataPath) targets() map[string][]string {
	other := func(v victim, ports ...string) (out []string) {
		for _, p := range ports {
			out = append(out, "tcp://"+v.port(p))
		}
		return out
	}
	agents := func(v victim) []string { return []string{"agent://" + v.port("15020"), "agent://" + v.port("15021")} }
	out := map[string][]string{
		"edge":     {"http://" + net.JoinHostPort(b.gateway.address, "80")},
		"edge-tls": {"https://" + net.JoinHostPort(b.gateway.address, "443")},
		"sidecar":  {"http://" + b.server.port("8080")},
		"ports":    other(b.server, "8080", "9090", "12345", "15001", "15006"),
		"agents":   append(agents(b.server), agents(b.gateway)...),
	}
	if b.shop != nil {
		out["demo"] = append(agents(*b.shop), "http://"+net.JoinHostPort(b.shop.address, "80"))
	}
	return out
}

// clients start the requests that must not fail: a POST is not repeated by the client.
func (b dataPath) clients(t *testing.T, mode v1alpha1.MTLSMode) map[string]*cluster.Run {
	t.Helper()
	run := func(meshed bool, url string, args ...string) *cluster.Run {
		return b.c.Load(t, b.ns, meshed, append(args, "-url", url, "-method", "POST", "-rate", strconv.Itoa(clientRate), "-duration", "20m")...)
	}
	edge := "http://" + b.gateway.address + "/"
	runs := map[string]*cluster.Run{
		"through the Gateway":                       run(false, edge),
		"through the Gateway, new connections":      run(false, edge, "-new-connections"),
		"through the Gateway, TLS, new connections": run(false, strings.Replace(edge, "http", "https", 1), "-new-connections"),
		"between meshed pods":                       run(true, "http://server/"),
		"between meshed pods, new connections":      run(true, "http://server/", "-new-connections"),
	}
	if mode == v1alpha1.MTLSPermissive {
		runs["from a pod without a proxy, new connections"] = run(false, "http://server/", "-new-connections")
	}
	if b.shop != nil {
		runs["the demo, through its Gateway"] = run(false, "http://"+b.shop.address+"/")
	}
	for _, r := range runs {
		r.Sent(t, 20)
	}
	return runs
}

// attackAll attacks everything for attackTime, logs what happened, and checks it.
func (b dataPath) attackAll(t *testing.T, mode v1alpha1.MTLSMode) {
	runs := b.clients(t, mode)
	namespaces := []string{b.ns, names.SystemNamespace}
	victims := map[string]victim{"the meshed pod": b.server, "the Gateway": b.gateway}
	if b.shop != nil {
		namespaces, victims["the demo's Gateway"] = append(namespaces, demo), *b.shop
	}
	before, idle := podStates(t, b.c, namespaces...), controlPlane(t, b.c)
	most := watchMemory(t, b.c, victims)
	from, targets := b.c.Namespace(t, "attackers"), b.targets()
	for name, at := range targets {
		b.attack(t, from, name, at)
	}
	opened := map[string]int{} // by the attack
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		done := attackDone(t, b.c, from, name)
		for _, what := range slices.Sorted(maps.Keys(done)) {
			d := done[what]
			t.Logf("%s: %s: %d connections, %d refused, %d sent", name, what, d.Connections, d.Refused, d.Sent)
			opened[what[strings.LastIndex(what, ": ")+2:]] += int(d.Connections)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(opened)) {
		if opened[what] == 0 {
			t.Errorf("%s: no connection was opened anywhere, so nothing was attacked", what)
		}
	}
	memory := most()
	for name, v := range victims {
		t.Logf("%s: %s", name, v.counters(t.Context()))
	}
	unharmed(t, runs, int(attackTime.Seconds())*clientRate/2)
	samePods(t, before, podStates(t, b.c, namespaces...))
	memory.check(t, victims, idle)
	for _, r := range runs {
		if err := r.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// attack starts a pod that attacks ports for attackTime.
func (b dataPath) attack(t *testing.T, ns, name string, at []string) {
	t.Helper()
	b.c.MustApply(t, `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s, labels: {tulle.dev/inject: disabled}}
spec:
  restartPolicy: Never
  containers:
  - name: intruder
    image: tulle.local/intruder:%[3]s
    imagePullPolicy: IfNotPresent
    args: [-at, %[4]q, -for, %[5]v, -rate, "%[6]d"]
    resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: %[7]s, memory: 256Mi}}
`, name, ns, cluster.Tag(), strings.Join(at, ","), attackTime, attackRate, attackCPU)
}

// attackDone waits for the end of an attacker and returns what it did, by attack.
func attackDone(t *testing.T, c *cluster.Cluster, ns, name string) (done map[string]attack.Done) {
	t.Helper()
	cluster.Eventually(t, attackTime+2*time.Minute, "the attacker "+name+" ends", func() error {
		log := c.Logs(t.Context(), ns, name, "intruder", 0)
		if at := strings.Index(log, "{"); at < 0 || json.Unmarshal([]byte(log[at:]), &done) != nil {
			return fmt.Errorf("it says %q", log)
		}
		return nil
	})
	return done
}

// unharmed checks that none of the requests failed, and that each client made at least so many.
func unharmed(t *testing.T, runs map[string]*cluster.Run, least int) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		s, ok := runs[name].Progress(t.Context())
		t.Logf("client %s: %d sent, %d failed: p50 %.0f ms, p99 %.0f ms, slowest %.0f ms, longest stall %.0f ms", name, s.Sent, s.Failed, s.P50, s.P99, s.Max, s.LongestStall)
		if !ok || s.Failed > 0 || s.OK < least {
			t.Errorf("client %s: %d of %d requests failed (want 0 of at least %d): %v", name, s.Failed, s.Sent, least, s.Failures)
		}
	}
}
