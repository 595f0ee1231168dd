// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers"
	"tulle.dev/tulle/internal/lifecycle/release"
)

const (
	system       = "tulle-system"
	operatorUser = "system:serviceaccount:tulle-system:tulle-operator"
	controlPlane = "tulle-controlplane-0-3-0" // of release.Current
)

// clock is how far the operator's clock is ahead, in nanoseconds.
var clock atomic.Int64

func later() time.Time { return time.Now().Add(time.Duration(clock.Load())) }

// startOperator runs the operator with its own rights, until the function it returns is called.
func startOperator(t *testing.T) (stop func()) {
	t.Helper()
	skip := true
	mgr, err := controllers.NewManager(as(operatorUser, "system:serviceaccounts", "system:serviceaccounts:"+system), system, ctrl.Options{
		Metrics: metricsserver.Options{BindAddress: "0"},
		// One process runs several operators, one after the other.
		Controller: config.Controller{SkipNameValidation: &skip},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := controllers.Setup(mgr, controllers.Options{Namespace: system, Image: "tulle.test/tulle:1", ProxyImage: "tulle.test/proxy:1", Trust: replicaTrust, ControlPlanes: &played, Now: later}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("operator: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// installKinds installs cert-manager's or the Gateway API's definitions, and nothing that runs.
func installCertManager(t *testing.T) {
	t.Helper()
	install(t, "github.com/cert-manager/cert-manager", "deploy/crds", "cert-manager.io/v1", "Certificate", "ClusterIssuer", "Issuer")
}

func installGatewayAPI(t *testing.T) {
	t.Helper()
	install(t, "sigs.k8s.io/gateway-api", "config/crd/experimental", "gateway.networking.k8s.io/v1", "GatewayClass", "Gateway", "HTTPRoute", "GRPCRoute")
}

func install(t *testing.T, module, folder, apiVersion string, kinds ...string) {
	t.Helper()
	files, err := moduleFiles(module, folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := applyFiles(t.Context(), files...); err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		if err := waitForKind(t.Context(), apiVersion, k); err != nil {
			t.Fatal(err)
		}
	}
}

// uninstall removes definitions, and with them every object of their kinds.
func uninstall(t *testing.T, module, folder string) {
	t.Helper()
	files, err := moduleFiles(module, folder)
	if err != nil {
		t.Fatal(err)
	}
	var waiting []*unstructured.Unstructured
	for _, f := range files {
		objects, err := readFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			if o.GetKind() != "CustomResourceDefinition" {
				continue
			}
			if err := client.IgnoreNotFound(admin.Delete(context.Background(), o)); err != nil {
				t.Fatal(err)
			}
			waiting = append(waiting, o)
		}
	}
	for _, o := range waiting {
		left := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "metadata": map[string]any{"name": o.GetName()},
		}}
		eventually(t, o.GetName()+" is gone", func() string {
			if err := admin.Get(context.Background(), client.ObjectKeyFromObject(o), left); err != nil {
				return ""
			}
			conditions, _, _ := unstructured.NestedSlice(left.Object, "status", "conditions")
			lack := fmt.Sprint(left.GetDeletionTimestamp(), left.GetFinalizers(), conditions)
			if strings.Contains(lack, "InstanceDeletionFailed") {
				lack += nudge(left)
			}
			return lack
		})
	}
}

// nudge has the API server try again to remove a definition. Its finalizer lists the objects of a kind
// before the storage of a kind that nobody has asked for is ready, notes the failure in the status,
// conflicts with that note when it tries again, and then forgets the definition for five minutes
// (operator-framework/operator-controller#1437). It looks again at whatever changes outside the status.
func nudge(definition *unstructured.Unstructured) (failed string) {
	change := fmt.Appendf(nil, `{"metadata":{"annotations":{"tulle.dev/nudged":%q}}}`, time.Now().Format(time.RFC3339Nano))
	if err := client.IgnoreNotFound(admin.Patch(context.Background(), definition, client.RawPatch(types.MergePatchType, change))); err != nil {
		return fmt.Sprint("; nudge: ", err)
	}
	return ""
}

// newMesh makes a Mesh; change may be nil.
func newMesh(t *testing.T, name string, change func(*v1alpha1.Mesh)) *v1alpha1.Mesh {
	t.Helper()
	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.MeshSpec{Version: release.Current}}
	if change != nil {
		change(m)
	}
	if err := admin.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { forget(t, m) })
	return m
}

// edit changes a Mesh as a user would.
func edit(t *testing.T, name string, change func(*v1alpha1.Mesh)) {
	t.Helper()
	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: name}}
	update(t, m, func() { change(m) })
}

// update reads an object, changes it, and writes it, again if somebody was quicker.
func update(t *testing.T, o client.Object, change func()) {
	t.Helper()
	eventually(t, fmt.Sprintf("update %T %s", o, o.GetName()), func() string {
		if err := admin.Get(context.Background(), client.ObjectKeyFromObject(o), o); err != nil {
			return err.Error()
		}
		change()
		if err := admin.Update(context.Background(), o); err != nil {
			return err.Error()
		}
		return ""
	})
}

// forget removes a Mesh for good, whatever still guards it.
func forget(t *testing.T, m *v1alpha1.Mesh) {
	t.Helper()
	ctx := context.Background() // the test's own has ended
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	_ = admin.Patch(ctx, &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: m.Name}}, patch) // it may have gone already
	if err := client.IgnoreNotFound(admin.Delete(ctx, m)); err != nil {
		t.Error(err)
	}
}

// namespace makes a namespace; they are never removed, because nothing ends them here.
func namespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if err := admin.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
}

// serve plays the Deployment controller and the kubelet: so many replicas are ready.
func serve(t *testing.T, namespace, name string, ready int32) {
	t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	there(t, d)
	before := d.DeepCopy()
	d.Status.ObservedGeneration = d.Generation
	d.Status.Replicas, d.Status.UpdatedReplicas = *d.Spec.Replicas, *d.Spec.Replicas
	d.Status.ReadyReplicas, d.Status.AvailableReplicas = ready, ready
	d.Status.UnavailableReplicas = *d.Spec.Replicas - ready
	if err := admin.Status().Patch(t.Context(), d, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// pod makes a pod that carries a proxy, as injection would label it.
func pod(t *testing.T, namespace, name string, labels map[string]string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1"}}},
	}
	if err := admin.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(admin.Delete(context.Background(), p, client.GracePeriodSeconds(0))); err != nil {
			t.Error(err)
		}
	})
	return p
}
