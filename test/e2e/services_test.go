// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/testing/cluster"
)

// servers are two pods behind Services of every kind.
const servers = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: server, namespace: %[1]s}
spec:
  replicas: 2
  serviceName: headless
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      containers:
      - name: app
        image: tulle.local/echo:%[2]s
        imagePullPolicy: IfNotPresent
        args: [-name, server, -http, ":8080", -grpc, ":9090", -tcp, ":7000", -https, "127.0.0.1:8443"]
        env: [{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        ports: [{name: web, containerPort: 8080}, {name: rpc, containerPort: 9090}, {name: bytes, containerPort: 7000}]
        readinessProbe: {httpGet: {path: /healthz, port: web}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: several, namespace: %[1]s}
spec:
  selector: {app: server}
  ports: # the datagrams share a number with the web
  - {name: datagrams, port: 80, protocol: UDP}
  - {name: http, port: 80, targetPort: web}
  - {name: grpc, port: 81, targetPort: rpc}
  - {name: bytes, port: 82, targetPort: bytes}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: %[1]s}
spec: {clusterIP: None, selector: {app: server}, ports: [{name: http, port: 8080}, {name: bytes, port: 7000}]}
---
apiVersion: v1
kind: Service
metadata: {name: external, namespace: %[1]s}
spec: {type: ExternalName, externalName: several.%[1]s.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: local, namespace: %[1]s}
spec: {internalTrafficPolicy: Local, selector: {app: server}, ports: [{name: http, port: 80, targetPort: web}]}
---
apiVersion: v1
kind: Service
metadata: {name: sticky, namespace: %[1]s}
spec: {sessionAffinity: ClientIP, selector: {app: server}, ports: [{name: http, port: 80, targetPort: web}]}
---
apiVersion: v1
kind: Service
metadata: {name: manual, namespace: %[1]s}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
`

// others are a pod on the node's own network, one that never gets ready and one that takes long to end.
const others = `
apiVersion: v1
kind: Pod
metadata: {name: host, namespace: %[1]s, labels: {app: host}}
spec:
  hostNetwork: true
  containers: [{name: app, image: "tulle.local/echo:%[2]s", imagePullPolicy: IfNotPresent, args: [-name, host, -http, ":18088"]}]
---
apiVersion: v1
kind: Service
metadata: {name: host, namespace: %[1]s}
spec: {selector: {app: host}, ports: [{name: http, port: 80, targetPort: 18088}]}
---
apiVersion: v1
kind: Pod
metadata: {name: late, namespace: %[1]s, labels: {app: late}}
spec:
  containers:
  - name: app
    image: tulle.local/echo:%[2]s
    imagePullPolicy: IfNotPresent
    args: [-name, late, -ready-after, 1h]
    readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: late, namespace: %[1]s}
spec: {selector: {app: late}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: early, namespace: %[1]s}
spec: {publishNotReadyAddresses: true, selector: {app: late}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: ending, namespace: %[1]s, labels: {app: ending}}
spec:
  terminationGracePeriodSeconds: 40
  containers:
  - name: app
    image: tulle.local/echo:%[2]s
    imagePullPolicy: IfNotPresent
    args: [-name, ending]
    readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
    lifecycle: {preStop: {sleep: {seconds: 15}}}
---
apiVersion: v1
kind: Service
metadata: {name: ending, namespace: %[1]s}
spec: {selector: {app: ending}, ports: [{name: http, port: 80, targetPort: 8080}]}
`

// TestServices: every kind of Service works between meshed pods as it does without a mesh, and keeps
// their identity where there is one.
func TestServices(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "services", meshed)
	c.MustApply(t, servers+"---"+others, ns, cluster.Tag())
	c.Deploy(t, ns, cluster.Echo{Name: "client"})
	c.Deploy(t, ns, cluster.Echo{Name: "outsider", Labels: []string{"tulle.dev/inject: disabled"}, NoService: true})
	c.Ready(t, ns, "client", "outsider")
	ips := map[string]string{}
	for _, name := range []string{"server-0", "server-1"} {
		ips[name] = readyPod(t, c, ns, name).Status.PodIP
	}
	me, outsider := podOf(t, c, ns, "client"), podOf(t, c, ns, "outsider")
	caller, server0 := spiffe(ns, "client"), from{c, ns, "server-0"}

	// The parallel ones inside; the namespace goes when all of them have ended.
	t.Run("of", func(t *testing.T) {
		t.Run("several ports, named target ports", func(t *testing.T) {
			t.Parallel()
			if d := me.get(t, "http://several/"); d.Report.Service != "server" || d.Report.Caller != caller {
				t.Errorf("HTTP: %+v", d.Report)
			}
			if d := me.dial(t, "grpc", "several:81"); d.Error != "" || d.Report.Caller != caller {
				t.Errorf("gRPC: %s %+v", d.Error, d.Report)
			}
			me.echoes(t, "several:82", "")
			if got := me.stat(t, "cluster.out/"+ns+"/several/82.", "ssl.handshake"); got == 0 {
				t.Error("bytes to several:82 went without mutual TLS")
			}
		})
		t.Run("headless, by the Service's name", func(t *testing.T) {
			t.Parallel()
			if d := me.get(t, "http://headless:8080/"); d.Report.Service != "server" {
				t.Errorf("%+v", d.Report)
			}
			me.echoes(t, "headless:7000", "")
			for _, port := range []string{"8080", "7000"} {
				if got := me.stat(t, "cluster.direct/"+ns+"/headless/"+port+".", "ssl.handshake"); got == 0 {
					t.Errorf("to port %s without mutual TLS", port)
				}
			}
		})
		t.Run("StatefulSet, pod to pod", func(t *testing.T) {
			t.Parallel()
			for _, name := range []string{"server-1", "server-0"} { // itself too
				if d := server0.get(t, "http://"+name+".headless:8080/"); d.Report.Pod != name {
					t.Errorf("%s answered for %s", d.Report.Pod, name)
				}
			}
			if got := server0.stat(t, "cluster.direct/"+ns+"/headless/8080.", "ssl.handshake"); got < 2 {
				t.Errorf("%d TLS handshakes with two pods", got)
			}
		})
		t.Run("ExternalName", func(t *testing.T) {
			t.Parallel()
			if d := me.get(t, "http://external/"); d.Report.Service != "server" || d.Report.Caller != caller {
				t.Errorf("%+v", d.Report)
			}
		})
		t.Run("without a selector", func(t *testing.T) {
			t.Parallel()
			c.MustApply(t, `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: manual-by-hand, namespace: %s, labels: {kubernetes.io/service-name: manual}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: ["%s"]}]
`, ns, ips["server-1"])
			if d := me.get(t, "http://manual/"); d.Report.Pod != "server-1" {
				t.Errorf("%+v", d.Report)
			}
		})
		t.Run("publishNotReadyAddresses", func(t *testing.T) {
			t.Parallel()
			if d := me.get(t, "http://early/"); d.Report.Service != "late" || d.Report.Caller != caller {
				t.Errorf("%+v", d.Report)
			}
			if d := me.dial(t, "http", "http://late/"); d.Status != 503 {
				t.Errorf("a Service whose pods are not ready: %d %s", d.Status, d.Error)
			}
		})
		t.Run("internalTrafficPolicy Local", func(t *testing.T) {
			t.Parallel()
			if d := me.get(t, "http://local/"); d.Report.Caller != caller {
				t.Errorf("%+v", d.Report)
			}
			node := readyPod(t, c, ns, me.pod).Spec.NodeName
			if !strings.Contains(me.admin(t, "/clusters"), "out/"+ns+"/local/80/node/"+node+"::") {
				t.Errorf("the client has no cluster of the endpoints on node %s", node)
			}
		})
		t.Run("session affinity", func(t *testing.T) {
			t.Parallel()
			sticky, several := map[string]int{}, map[string]int{}
			me.get(t, "http://sticky/")
			for range 12 {
				sticky[me.get(t, "http://sticky/").Report.Pod]++
				several[me.get(t, "http://several/").Report.Pod]++
			}
			if len(sticky) != 1 || len(several) != 2 {
				t.Errorf("with affinity %v, without %v", sticky, several)
			}
		})
		t.Run("terminating endpoints", func(t *testing.T) { t.Parallel(); ending(t, me) })
		t.Run("hostNetwork", func(t *testing.T) {
			t.Parallel()
			if d := me.get(t, "http://host/"); d.Report.Service != "host" || d.Report.Caller != "" {
				t.Errorf("%+v", d.Report)
			}
		})
		t.Run("kubernetes.default", func(t *testing.T) {
			t.Parallel()
			d := me.dial(t, "http", "https://kubernetes.default/api/v1/secrets")
			if d.Status != 401 && d.Status != 403 || len(d.Header["Audit-Id"]) == 0 {
				t.Errorf("%d %v %s", d.Status, d.Header, d.Error)
			}
		})
		t.Run("UDP", func(t *testing.T) {
			t.Parallel()
			svc := &corev1.Service{}
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "several"}, svc); err != nil {
				t.Fatal(err)
			}
			if d := me.dial(t, "dns", "several."+ns+".svc.cluster.local"); d.Text != svc.Spec.ClusterIP || d.Error != "" {
				t.Errorf("%q, want %s: %s", d.Text, svc.Spec.ClusterIP, d.Error)
			}
		})
		t.Run("itself", func(t *testing.T) {
			t.Parallel()
			ip := readyPod(t, c, ns, me.pod).Status.PodIP
			if d := me.get(t, "http://client/"); d.Report.Pod != me.pod || d.Report.Caller != caller {
				t.Errorf("by its own Service: %+v", d.Report)
			}
			for _, host := range []string{ip, "127.0.0.1"} {
				if d := me.get(t, "http://"+host+":8080/"); d.Report.Pod != me.pod {
					t.Errorf("by %s: %+v", host, d.Report)
				}
			}
		})
		t.Run("private", func(t *testing.T) {
			t.Parallel()
			if d := server0.get(t, "https://127.0.0.1:8443/"); d.Report.Pod != "server-0" {
				t.Errorf("its own pod: %+v", d.Report)
			}
			for who, f := range map[string]from{"a meshed pod": me, "a pod without a proxy": outsider, "the pod by its own address": server0} {
				if d := f.dial(t, "http", "-timeout", "5s", "https://"+ips["server-0"]+":8443/"); d.Status != 0 || d.Error == "" {
					t.Errorf("%s reached a port of 127.0.0.1: %d %s", who, d.Status, d.Text)
				}
			}
		})
		t.Run("the proxy's own ports", func(t *testing.T) {
			t.Parallel()
			before := server0.stat(t, "listener.", "downstream_cx_total")
			for who, f := range map[string]from{"a meshed pod": me, "a pod without a proxy": outsider, "the pod itself": server0} {
				for _, port := range []string{"15001", "15006"} {
					d := f.dial(t, "tcp", "-timeout", "8s", "-send", `GET / HTTP/1.0\r\n\r\n`, ips["server-0"]+":"+port)
					if d.Bytes > 0 || d.Seconds > 6 {
						t.Errorf("%s to port %s: %q in %.1f s: %s", who, port, d.Text, d.Seconds, d.Error)
					}
				}
			}
			// Others of these tests connect too, but no thousand times.
			if n := server0.stat(t, "listener.", "downstream_cx_total") - before; n == 0 || n > 500 {
				t.Errorf("the proxy counts %d connections, after six were made", n)
			}
		})
	})
}

// readyPod waits until a pod is Ready.
func readyPod(t *testing.T, c *cluster.Cluster, ns, name string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{}
	cluster.Eventually(t, 2*time.Minute, "pod "+ns+"/"+name+" ready", func() error {
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, p); err != nil {
			return err
		}
		for _, k := range p.Status.Conditions {
			if k.Type == corev1.PodReady && k.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", p.Status.Conditions)
	})
	return p
}

// ending: a pod that ends serves on while it is all that its Service has, and 503 follows.
func ending(t *testing.T, me from) {
	p := readyPod(t, me.c, me.ns, "ending")
	me.get(t, "http://ending/")
	if err := me.c.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	cluster.Eventually(t, 10*time.Second, "endpoint terminates", func() error {
		l := &discoveryv1.EndpointSliceList{}
		if err := me.c.List(t.Context(), l, client.InNamespace(me.ns), client.MatchingLabels{discoveryv1.LabelServiceName: "ending"}); err != nil {
			return err
		}
		for _, s := range l.Items {
			for _, e := range s.Endpoints {
				if k := e.Conditions; k.Terminating != nil && *k.Terminating && !*k.Ready && *k.Serving {
					return nil
				}
			}
		}
		return fmt.Errorf("%+v", l.Items)
	})
	for range 10 {
		if d := me.dial(t, "http", "http://ending/"); d.Status != 200 || d.Report.Service != "ending" {
			t.Fatalf("while it ends: %d %s %s", d.Status, d.Text, d.Error)
		}
	}
	cluster.Eventually(t, time.Minute, "the end of the pod is known", func() error {
		if d := me.dial(t, "http", "http://ending/"); d.Status != 503 {
			return fmt.Errorf("%d %s", d.Status, d.Error)
		}
		return nil
	})
}
