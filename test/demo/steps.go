// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// Names in config/samples.
const (
	meshName  = "tulle"
	namespace = "shop"
	gateway   = "shop"
	route     = "reviews"
)

// demo is the state that the steps hand on.
type demo struct {
	*kube
	options
	say *speaker

	address  string // of the Gateway; empty: it can't be reached from here
	result   result
	upgraded upgraded
	jobs     []types.NamespacedName // that send requests
}

// kubectlApply shows the command before it runs.
func (d *demo) kubectlApply(ctx context.Context, args ...string) error {
	d.say.line("$ kubectl %s", strings.Join(args, " "))
	_, err := d.kube.run(ctx, args...)
	return err
}

// look makes sure that what the demo builds on is there.
func (d *demo) look(ctx context.Context) error {
	v, err := d.typed.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("reach the cluster: %w", err)
	}
	d.say.line("Kubernetes %s", v.GitVersion)
	for what, group := range map[string]string{
		"cert-manager":    "cert-manager.io/v1",
		"the Gateway API": "gateway.networking.k8s.io/v1",
	} {
		if _, err := d.typed.Discovery().ServerResourcesForGroupVersion(group); err != nil {
			return fmt.Errorf("%s is not installed (%w): run tulle check", what, err)
		}
	}
	return nil
}

func (d *demo) installOperator(ctx context.Context) error {
	if err := d.kubectlApply(ctx, "apply", "--server-side", "--force-conflicts", "-k", "config/default"); err != nil {
		return err
	}
	return await(ctx, d.say, 3*time.Minute, func(ctx context.Context) (bool, string, error) {
		return d.deploymentsReady(ctx, names.SystemNamespace)
	})
}

// deploymentsReady says whether every Deployment of a namespace runs as wanted.
func (d *demo) deploymentsReady(ctx context.Context, namespace string) (bool, string, error) {
	list, err := d.typed.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		return false, "no Deployments in " + namespace, err
	}
	var missing []string
	for i := range list.Items {
		if w := &list.Items[i]; !rolledOut(w) {
			missing = append(missing, fmt.Sprintf("%s (%d of %d ready)", w.Name, w.Status.ReadyReplicas, *w.Spec.Replicas))
		}
	}
	return len(missing) == 0, strings.Join(missing, ", "), nil
}

func rolledOut(d *appsv1.Deployment) bool {
	s, want := d.Status, *d.Spec.Replicas
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.ReadyReplicas == want && s.Replicas == want
}

func (d *demo) makeMesh(ctx context.Context) error {
	if err := d.kubectlApply(ctx, "apply", "-f", "config/samples/tulle_v1alpha1_mesh.yaml"); err != nil {
		return err
	}
	err := await(ctx, d.say, 3*time.Minute, func(ctx context.Context) (bool, string, error) {
		u, err := d.get(ctx, v1alpha1.GroupVersion().WithResource("meshes"), "", meshName)
		if err != nil || u == nil {
			return false, "the Mesh is not there", err
		}
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		status, why, current := condition(conditions, v1alpha1.ConditionReady, u.GetGeneration())
		return status == "True" && current, why, nil
	})
	if err == nil {
		d.say.line("the Mesh is Ready: a certificate authority, a control plane and the injection webhook")
	}
	return err
}

func (d *demo) deployShop(ctx context.Context) error {
	for _, file := range []string{"namespace", "catalog", "reviews", "cart", "web"} {
		if err := d.kubectlApply(ctx, "apply", "-f", "config/samples/shop/"+file+".yaml"); err != nil {
			return err
		}
	}
	err := await(ctx, d.say, 3*time.Minute, func(ctx context.Context) (bool, string, error) {
		return d.deploymentsReady(ctx, namespace)
	})
	if err != nil {
		return err
	}
	pods, err := d.typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: names.LabelProxy + "=" + names.KindSidecar, FieldSelector: "status.phase=Running",
	})
	if err != nil {
		return err
	}
	d.say.line("%d pods run, each with its proxy", len(pods.Items))
	if len(pods.Items) == 0 {
		return fmt.Errorf("no pod of namespace %s was injected: tulle check says why", namespace)
	}
	return nil
}

func (d *demo) openGateway(ctx context.Context) error {
	if err := d.kubectlApply(ctx, "apply", "-f", "config/samples/shop/gateway.yaml"); err != nil {
		return err
	}
	gateways := resource("gateway.networking.k8s.io", "v1", "gateways")
	address := ""
	err := await(ctx, d.say, 3*time.Minute, func(ctx context.Context) (bool, string, error) {
		u, err := d.get(ctx, gateways, namespace, gateway)
		if err != nil || u == nil {
			return false, "the Gateway is not there", err
		}
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		status, why, current := condition(conditions, "Programmed", u.GetGeneration())
		address = firstAddress(u)
		return status == "True" && current && address != "", why, nil
	})
	if err != nil {
		return err
	}
	if err := d.awaitRoute(ctx, "web", 1); err != nil {
		return err
	}
	d.address = address
	if !d.inside && reachable(ctx, net.JoinHostPort(address, "80")) {
		d.say.line("the Gateway answers at http://%s", address)
		return nil
	}
	d.say.line("a pod outside the mesh will call the Gateway: its address %s is for the cluster's own network", address)
	d.address = ""
	return nil
}

func firstAddress(u *unstructured.Unstructured) string {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "addresses")
	for _, item := range list {
		if a, ok := item.(map[string]any); ok {
			if value, _ := a["value"].(string); value != "" {
				return value
			}
		}
	}
	return ""
}

// reachable gives the address a few seconds: some balancers announce it before they serve it.
func reachable(ctx context.Context, address string) bool {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && ctx.Err() == nil; {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		c, err := (&net.Dialer{}).DialContext(attempt, "tcp", address)
		cancel()
		if err == nil {
			c.Close()
			return true
		}
	}
	return false
}

// awaitRoute waits until a route is acknowledged by every proxy, at least in the given generation.
func (d *demo) awaitRoute(ctx context.Context, name string, generation int64) error {
	return await(ctx, d.say, 2*time.Minute, func(ctx context.Context) (bool, string, error) {
		u, err := d.get(ctx, httpRoutes(), namespace, name)
		if err != nil || u == nil {
			return false, "the route is not there", err
		}
		done, why := programmed(u, max(generation, u.GetGeneration()))
		return done, why, nil
	})
}

// programmed says whether every parent of a route is acknowledged in a generation.
func programmed(u *unstructured.Unstructured, generation int64) (bool, string) {
	parents, _, _ := unstructured.NestedSlice(u.Object, "status", "parents")
	if len(parents) == 0 {
		return false, "no controller has looked at the route yet"
	}
	for _, item := range parents {
		parent, _ := item.(map[string]any)
		conditions, _ := parent["conditions"].([]any)
		status, why, current := condition(conditions, v1alpha1.ConditionProgrammed, generation)
		if status != "True" || !current {
			return false, why
		}
	}
	return true, ""
}

func (d *demo) splitFirst(ctx context.Context) error {
	if err := d.kubectlApply(ctx, "apply", "-f", "config/samples/shop/split-90.yaml"); err != nil {
		return err
	}
	return d.awaitRoute(ctx, route, 1)
}

// watchRoute reports the moment at which the API server took a new generation of the route, and
// the one at which its condition said that every proxy has acknowledged it.
func (d *demo) watchRoute(ctx context.Context, r schema.GroupVersionResource, after int64) (taken, acked time.Time, message string, err error) {
	w, err := d.dynamic.Resource(r).Namespace(namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + route})
	if err != nil {
		return taken, acked, "", fmt.Errorf("watch the route: %w", err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return taken, acked, "", fmt.Errorf("the route was not acknowledged by every proxy in time: %w", ctx.Err())
		case e, open := <-w.ResultChan():
			u, ok := e.Object.(*unstructured.Unstructured)
			if !open || !ok {
				return taken, acked, "", fmt.Errorf("the watch on the route ended")
			}
			if u.GetGeneration() <= after {
				continue
			}
			if taken.IsZero() {
				taken = time.Now()
			}
			if done, _ := programmed(u, u.GetGeneration()); done {
				return taken, time.Now(), acknowledgement(u), nil
			}
		}
	}
}

// acknowledgement is the message of the first parent: "acknowledged by 12 of 12 proxies".
func acknowledgement(u *unstructured.Unstructured) string {
	parents, _, _ := unstructured.NestedSlice(u.Object, "status", "parents")
	for _, item := range parents {
		parent, _ := item.(map[string]any)
		conditions, _ := parent["conditions"].([]any)
		_, why, _ := condition(conditions, v1alpha1.ConditionProgrammed, 0)
		_, message, _ := strings.Cut(why, ": ")
		return message
	}
	return ""
}
