// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package routes

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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// services are what routes send to: one Deployment behind two Services, and a Gateway.
const services = `
apiVersion: v1
kind: Service
metadata: {name: other, namespace: %[1]s}
spec: {selector: {app: server}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: %[1]s}
spec:
  gatewayClassName: tulle
  listeners: [{name: http, port: 80, protocol: HTTP}]
`

// leftover marks the namespace, so that one of a run that was interrupted can be found.
const leftover = "tulle.dev/benchmark=routes"

// gatewayReplicas is how many proxies a Gateway of the benchmark has.
const gatewayReplicas = 2

// world is what all parts of the benchmark share: a namespace in the mesh with a Service and the
// Gateway front, and the board.
type world struct {
	*cluster.Cluster
	watcher client.WithWatch
	mesh    *v1alpha1.Mesh
	ns      string
	board   *board
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c := cluster.Connect(t)
	watcher, err := client.NewWithWatch(c.Config, client.Options{Scheme: c.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Cluster: c, watcher: watcher, board: newBoard()}
	w.oneClock(t)
	name := os.Getenv("TULLE_MESH")
	if name == "" {
		name = "tulle"
	}
	w.mesh = c.Mesh(t, name)
	w.twoReplicas(t)
	w.ns = c.Namespace(t, "routes", names.LabelInject+"="+names.InjectEnabled, leftover)
	c.Deploy(t, w.ns, cluster.Echo{Name: "server"})
	c.MustApply(t, services, w.ns)
	c.Ready(t, w.ns, "server")
	c.Ready(t, w.ns, names.GatewayResource("front"))
	w.watchRoutes(t)
	return w
}

// oneClock fails unless the cluster's only node is this machine: times are compared that pods tell.
func (w *world) oneClock(t *testing.T) {
	t.Helper()
	nodes, err := w.Kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(nodes.Items); n != 1 || nodes.Items[0].Status.NodeInfo.BootID != strings.TrimSpace(string(boot)) {
		t.Fatalf("the cluster has %d nodes, or its node is another machine: the benchmark compares times of pods with its own, so it needs a cluster whose only node is the machine it runs on, as the embedded one is", n)
	}
}

// twoReplicas sees to it that Gateways have as many proxies as the report says, and puts the Mesh back.
func (w *world) twoReplicas(t *testing.T) {
	t.Helper()
	old := w.mesh.Spec.Gateway.Replicas
	if old != nil && *old == gatewayReplicas {
		return
	}
	set := func(ctx context.Context, n *int32) {
		body, err := json.Marshal(map[string]any{"spec": map[string]any{"gateway": map[string]any{"replicas": n}}})
		if err == nil {
			err = w.Patch(ctx, &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: w.mesh.Name}}, client.RawPatch(types.MergePatchType, body))
		}
		if err != nil {
			t.Errorf("set the replicas of Gateways: %v", err)
		}
	}
	n := int32(gatewayReplicas)
	set(t.Context(), &n)
	t.Cleanup(func() { set(context.WithoutCancel(t.Context()), old) })
}

// watchRoutes tells the board of every change of a route until the test ends.
func (w *world) watchRoutes(t *testing.T) {
	t.Helper()
	events := w.events(t, &gwapiv1.HTTPRouteList{})
	go func() {
		for e := range events {
			now := time.Now()
			r, ok := e.Object.(*gwapiv1.HTTPRoute)
			switch {
			case !ok:
				w.board.fail(fmt.Sprintf("the watch of routes: %v", e.Object))
			case e.Type == watch.Deleted:
				w.board.gone(r.Name)
			default:
				body, _ := json.Marshal(r) // what came as JSON can be written as such
				w.board.route(r, now, len(body))
			}
		}
	}()
}

// events watches objects of the namespace.
func (w *world) events(t *testing.T, list client.ObjectList) <-chan watch.Event {
	t.Helper()
	watching, err := w.watcher.Watch(t.Context(), list, client.InNamespace(w.ns))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watching.Stop)
	return watching.ResultChan()
}

func (w *world) gatewayPods(t *testing.T) []corev1.Pod {
	t.Helper()
	pods := w.Pods(t, w.ns, names.LabelGateway+"=front")
	if len(pods) != gatewayReplicas {
		t.Fatalf("the Gateway has %d pods, not %d", len(pods), gatewayReplicas)
	}
	return pods
}

// removePods takes the pods with a label away whose owner has been deleted, at once: proxies would go on
// for their drain time, and the machine is wanted.
func (w *world) removePods(t *testing.T, label, value string) {
	t.Helper()
	cluster.Eventually(t, time.Minute, "no pods of "+value+" are left", func() error {
		// Until the ReplicaSet is gone, they come back.
		sets := &appsv1.ReplicaSetList{}
		if err := w.List(t.Context(), sets, client.InNamespace(w.ns), client.MatchingLabels{label: value}); err != nil {
			return err
		}
		if len(sets.Items) > 0 {
			return fmt.Errorf("ReplicaSet %s is", sets.Items[0].Name)
		}
		if err := w.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(w.ns), client.MatchingLabels{label: value}, client.GracePeriodSeconds(0)); err != nil {
			return err
		}
		if left := len(w.Pods(t, w.ns, label+"="+value)); left > 0 {
			return fmt.Errorf("%d are", left)
		}
		return nil
	})
}

func meta(ns, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: ns, Name: name}
}

func deployment(ns, name string) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: meta(ns, name)}
}

// rules are those of every route: what is asked for below a prefix is redirected to the edit's number,
// and the rest goes to a Service.
func rules(prefix, service string, edit int) []gwapiv1.HTTPRouteRule {
	exact, below, full := gwapiv1.PathMatchExact, gwapiv1.PathMatchPathPrefix, gwapiv1.FullPathHTTPPathModifier
	question, rest, answer := prefix+asked, prefix+"/", fmt.Sprintf("%s/%d", asked, edit)
	port, found := gwapiv1.PortNumber(80), 302
	return []gwapiv1.HTTPRouteRule{
		{
			Matches: []gwapiv1.HTTPRouteMatch{{Path: &gwapiv1.HTTPPathMatch{Type: &exact, Value: &question}}},
			Filters: []gwapiv1.HTTPRouteFilter{{
				Type: gwapiv1.HTTPRouteFilterRequestRedirect,
				RequestRedirect: &gwapiv1.HTTPRequestRedirectFilter{
					Path: &gwapiv1.HTTPPathModifier{Type: full, ReplaceFullPath: &answer}, StatusCode: &found,
				},
			}},
		},
		{
			Matches: []gwapiv1.HTTPRouteMatch{{Path: &gwapiv1.HTTPPathMatch{Type: &below, Value: &rest}}},
			BackendRefs: []gwapiv1.HTTPBackendRef{{BackendRef: gwapiv1.BackendRef{
				BackendObjectReference: gwapiv1.BackendObjectReference{Name: gwapiv1.ObjectName(service), Port: &port},
			}}},
		},
	}
}

// onGateway is a parent.
func onGateway() gwapiv1.ParentReference { return gwapiv1.ParentReference{Name: "front"} }

// onService is the other parent, which makes it a route of the mesh.
func onService(name string) gwapiv1.ParentReference {
	group, kind := gwapiv1.Group(""), gwapiv1.Kind("Service")
	return gwapiv1.ParentReference{Group: &group, Kind: &kind, Name: gwapiv1.ObjectName(name)}
}
