// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"fmt"
	"strings"
	"testing"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwapixv1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
)

// deletionWaits deletes the Mesh while a pod and a route use it.
func deletionWaits(t *testing.T) {
	namespace(t, "user", map[string]string{"tulle.dev/inject": "enabled"})
	used := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "user", Name: "web", Labels: map[string]string{"tulle.dev/proxy": "sidecar"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1"}}},
	}
	// The webhook is dead, so the test makes the pod where the webhook does not look, and keeps it.
	used.Labels["tulle.dev/inject"] = "disabled"
	if err := admin.Create(t.Context(), used); err != nil {
		t.Fatal(err)
	}
	route := &gwapiv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "user", Name: "split"}}
	route.Spec.ParentRefs = []gwapiv1.ParentReference{{Group: ptr(gwapiv1.Group("")), Kind: ptr(gwapiv1.Kind("Service")), Name: "web", Port: ptr(gwapiv1.PortNumber(80))}}
	if err := admin.Create(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	route.Status.Parents = []gwapiv1.RouteParentStatus{{
		ParentRef: route.Spec.ParentRefs[0], ControllerName: "tulle.dev/mesh-controller",
		Conditions: []metav1.Condition{{Type: "Accepted", Status: "True", Reason: "Accepted", LastTransitionTime: metav1.Now()}},
	}}
	if err := admin.Status().Update(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
	if err := admin.Delete(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	c := condition(t, "tulle", v1alpha1.ConditionInUse, metav1.ConditionTrue, v1alpha1.ReasonPodsOrRoutes)
	for _, want := range []string{"user/web", "1 route is attached (user/split)", "kubectl annotate mesh.tulle.dev tulle tulle.dev/force-delete=true"} {
		if !strings.Contains(c.Message, want) {
			t.Errorf("message %q lacks %q", c.Message, want)
		}
	}
	// Nothing has been taken away.
	for _, o := range owned() {
		there(t, o)
	}
	there(t, trustIn("user"))
}

func deletionLeavesNothing(t *testing.T) {
	// A Gateway that the control plane has judged.
	gw := &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "user", Name: "left"}, Spec: gwapiv1.GatewaySpec{
		GatewayClassName: "tulle", Listeners: []gwapiv1.Listener{listener("http", 80, "HTTP")},
	}}
	if err := admin.Create(t.Context(), gw); err != nil {
		t.Fatal(err)
	}
	meta.SetStatusCondition(&gw.Status.Conditions, metav1.Condition{Type: "Programmed", Status: metav1.ConditionTrue, Reason: "Programmed", ObservedGeneration: 1})
	gw.Status.Addresses = []gwapiv1.GatewayStatusAddress{{Value: "192.0.2.1"}}
	if err := admin.Status().Update(t.Context(), gw, client.FieldOwner("tulle")); err != nil {
		t.Fatal(err)
	}
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Annotations = map[string]string{"tulle.dev/force-delete": "true"} })
	gone(t, &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}})
	nothingLeft(t)
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonNoMesh)
	eventually(t, "the Gateway is neither Programmed nor has it an address", func() string {
		if there(t, gw); meta.IsStatusConditionTrue(gw.Status.Conditions, "Programmed") || len(gw.Status.Addresses) > 0 {
			return fmt.Sprintf("%+v", gw.Status)
		}
		return ""
	})
	for _, o := range []client.Object{
		gw,
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "user", Name: "web"}},
		&gwapiv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "user", Name: "split"}},
		&gwapixv1.XMesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}, // somebody wrote to its spec: theirs now
	} {
		if err := admin.Delete(t.Context(), o, client.GracePeriodSeconds(0)); err != nil {
			t.Errorf("a user's object must stay: %v", err)
		}
	}
}

// nothingLeft checks that nothing of a mesh is there any more.
func nothingLeft(t *testing.T) {
	t.Helper()
	for _, o := range owned() {
		gone(t, o)
	}
	in := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: system, Name: name} }
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: in("tulle-root")}, &corev1.Secret{ObjectMeta: in("tulle-intermediate")},
		&cmv1.Certificate{ObjectMeta: in("tulle-root")}, &cmv1.Certificate{ObjectMeta: in("tulle-intermediate")},
		&cmv1.Issuer{ObjectMeta: in("tulle-root")}, &cmv1.Issuer{ObjectMeta: in("tulle-selfsigned")},
		trustIn("user"), trustIn("after"),
	} {
		gone(t, o)
	}
}

// installsAgain makes a new Mesh where one has been, with the operator restarted in the middle.
func installsAgain(t *testing.T) {
	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}, Spec: v1alpha1.MeshSpec{Version: release.Current}}
	if err := admin.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	stop := startCertManager(t, true)
	serve(t, system, controlPlane, 2)
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	stop()
	for _, o := range owned() {
		there(t, o)
	}
	there(t, &gwapixv1.XMesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}})
	there(t, trustIn("user"))
}

// deletionWithoutKinds takes cert-manager and the Gateway API away first, as people do.
func deletionWithoutKinds(t *testing.T) {
	uninstall(t, "github.com/cert-manager/cert-manager", "deploy/crds")
	condition(t, "tulle", v1alpha1.ConditionValid, metav1.ConditionFalse, v1alpha1.ReasonCertManagerMissing)
	condition(t, "tulle", v1alpha1.ConditionControlPlaneReady, metav1.ConditionTrue, v1alpha1.ReasonServing)
	uninstall(t, "sigs.k8s.io/gateway-api", "config/crd/experimental")
	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
	if err := admin.Delete(t.Context(), m); err != nil {
		t.Fatal(fmt.Errorf("delete: %w", err))
	}
	gone(t, m)
	nothingLeft(t)
}
