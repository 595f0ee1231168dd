// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

// TestGatewayDeployments: only the Deployment that the operator created for a Gateway of its own class counts; pods and
// Deployments that only carry its labels don't.
func TestGatewayDeployments(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{gwapiv1.Install, appsv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	gateway := func(namespace, name, class string) client.Object {
		gw := &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name)}}
		gw.Spec.GatewayClassName = gwapiv1.ObjectName(class)
		return gw
	}
	deployment := func(namespace, name, owner string) client.Object {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Labels: map[string]string{names.LabelGateway: "gw", names.LabelManagedBy: names.Operator},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "gateway.networking.k8s.io/v1", Kind: "Gateway", Name: "gw", UID: types.UID(owner)}},
		}}
		d.Spec.Template.Labels = map[string]string{names.LabelVersion: "0.2.0"}
		return d
	}
	ours, others := &gwapiv1.GatewayClass{}, &gwapiv1.GatewayClass{}
	ours.Name, ours.Spec.ControllerName = "internal", names.ControllerName
	others.Name, others.Spec.ControllerName = "other", "example.com/other"
	made := names.GatewayResource("gw")
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		ours, others,
		gateway("shop", "gw", "internal"), deployment("shop", made, "shop/gw"),
		deployment("shop", "forged", "shop/gw"),
		deployment("tenant", made, "shop/gw"), deployment("tenant", "x", ""),
		gateway("others", "gw", "other"), deployment("others", made, "others/gw"),
		gateway("stolen", "gw", names.GatewayClass), deployment("stolen", made, "an earlier one"),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "tenant", Name: "p", Labels: map[string]string{names.LabelProxy: names.KindGateway, names.LabelVersion: "0.2.0"}}},
	).Build()
	r := &Reconciler{Live: c, Cache: c}
	got, err := r.gatewayDeployments(t.Context(), &plan.Observed{GatewayAPI: true})
	want := []upgrade.GatewayDeployment{{Namespace: "shop", Gateway: "gw", Version: "0.2.0", Waiting: "0 of 1 new pods are created"}}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if got, err := r.gatewayDeployments(t.Context(), &plan.Observed{}); err != nil || got != nil {
		t.Errorf("without the Gateway API: %v, %v", got, err)
	}
}
