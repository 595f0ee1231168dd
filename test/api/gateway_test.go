// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/gateway"
)

func listener(name string, port int, protocol gwapiv1.ProtocolType) gwapiv1.Listener {
	return gwapiv1.Listener{Name: gwapiv1.SectionName(name), Port: gwapiv1.PortNumber(port), Protocol: protocol}
}

// gatewayGetsProxies deploys a Gateway, changes it, and hands it to another class.
func gatewayGetsProxies(t *testing.T) {
	namespace(t, "edge", nil)
	gw := &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "web"}, Spec: gwapiv1.GatewaySpec{
		GatewayClassName: "tulle",
		Listeners:        []gwapiv1.Listener{listener("a", 80, "HTTP"), listener("b", 8080, "HTTP")},
		Infrastructure: &gwapiv1.GatewayInfrastructure{
			Labels:      map[gwapiv1.LabelKey]gwapiv1.LabelValue{"team": "a", "tulle.dev/inject": "enabled"},
			Annotations: map[gwapiv1.AnnotationKey]gwapiv1.AnnotationValue{"example.com/lb": "internal"},
		},
	}}
	if err := admin.Create(t.Context(), gw); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, o := range madeFor("edge", "web-tulle") { // nothing collects garbage here
			_ = admin.Delete(context.WithoutCancel(t.Context()), o)
		}
	})
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady)

	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "web-tulle"}}
	there(t, d)
	p := d.Spec.Template
	if p.Labels["tulle.dev/proxy"] != "gateway" || p.Labels["gateway.networking.k8s.io/gateway-name"] != "web" || p.Labels["team"] != "a" ||
		p.Labels["tulle.dev/inject"] != "disabled" || p.Annotations["example.com/lb"] != "internal" || d.OwnerReferences[0].UID != gw.UID ||
		len(p.Spec.InitContainers) != 2 || p.Spec.InitContainers[0].Image != "tulle.test/proxy:1" {
		t.Errorf("Deployment: %+v", d)
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "web-tulle"}}
	there(t, svc)
	if len(svc.Spec.Ports) != 2 || svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		t.Errorf("Service: %+v", svc.Spec)
	}

	serve(t, "edge", "web-tulle", 2)
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonAddressPending)
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "198.19.128.9"}}
	if err := admin.Status().Update(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	deployed(t, gw, metav1.ConditionTrue, v1alpha1.ReasonDeployed)

	// The control plane's conditions are the control plane's: those that the API itself put there are still there.
	if meta.FindStatusCondition(gw.Status.Conditions, "Accepted") == nil {
		t.Errorf("conditions: %+v", gw.Status.Conditions)
	}

	// Drift, and a change of the listeners.
	if err := admin.Delete(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	serve(t, "edge", "web-tulle", 2)
	update(t, gw, func() { gw.Spec.Listeners = []gwapiv1.Listener{listener("a", 443, "TCP")} })
	eventually(t, "the Service follows", func() string {
		there(t, svc)
		if len(svc.Spec.Ports) != 1 || svc.Spec.Ports[0].Port != 443 || svc.Spec.Ports[0].Name != "tcp-443" {
			return fmt.Sprintf("%+v", svc.Spec.Ports)
		}
		return ""
	})
	deployed(t, gw, metav1.ConditionTrue, v1alpha1.ReasonDeployed)

	// One replica needs no disruption budget.
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Gateway.Replicas = ptr(int32(1)) })
	gone(t, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "web-tulle"}})

	// The condition is never of an older generation than the one before.
	refused := newGateway(t, "edge", "refused", map[string]string{"tulle.dev/replicas": "none"})
	deployed(t, refused, metav1.ConditionFalse, v1alpha1.ReasonNotAccepted)
	changedMeanwhile(t, refused)

	// Another class's Gateway is another's.
	update(t, gw, func() { gw.Spec.GatewayClassName = "other" })
	for _, o := range madeFor("edge", "web-tulle") {
		gone(t, o)
	}
	if err := admin.Delete(t.Context(), gw); err != nil {
		t.Fatal(err)
	}
}

func madeFor(ns, name string) []client.Object {
	m := metav1.ObjectMeta{Namespace: ns, Name: name}
	return []client.Object{
		&appsv1.Deployment{ObjectMeta: m}, &corev1.Service{ObjectMeta: m},
		&corev1.ServiceAccount{ObjectMeta: m}, &policyv1.PodDisruptionBudget{ObjectMeta: m},
	}
}

// deployed waits for the operator's condition on a Gateway, and reads the Gateway.
func deployed(t *testing.T, gw *gwapiv1.Gateway, status metav1.ConditionStatus, reason string) {
	t.Helper()
	eventually(t, "Gateway "+gw.Name+" "+reason, func() string {
		there(t, gw)
		c := meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionDeployed)
		if c == nil || c.Status != status || c.Reason != reason || c.ObservedGeneration != gw.Generation {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
}

// changedMeanwhile has rounds for a refused Gateway that take so long that it changes before they write
// its condition: what is written then is never of an older generation than what was.
func changedMeanwhile(t *testing.T, gw *gwapiv1.Gateway) {
	t.Helper()
	edit := func() {
		update(t, gw, func() { gw.Spec.Listeners[0].Port++ })
		deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonNotAccepted)
	}
	status := func(change func()) {
		there(t, gw)
		before := gw.DeepCopy()
		change()
		if err := admin.Status().Patch(t.Context(), gw, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	judge := func() {
		status(func() {
			meta.SetStatusCondition(&gw.Status.Conditions, metav1.Condition{Type: "example.com/Judged", Status: metav1.ConditionTrue, Reason: "Judged", ObservedGeneration: gw.Generation})
		})
	}
	for name, then := range map[string][]func(){
		"edited before it is looked at again":       {edit},
		"edited after it was looked at again":       {func() {}, edit},
		"its status written after it was looked at": {func() {}, judge},
	} {
		status(func() { meta.RemoveStatusCondition(&gw.Status.Conditions, v1alpha1.ConditionDeployed) })
		r := gateway.Reconciler{Namespace: system, Client: admin, Live: &slow{admin, then}, Cache: admin, Now: time.Now}
		if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(gw)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		there(t, gw)
		if c := meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionDeployed); c == nil || c.ObservedGeneration != gw.Generation {
			t.Errorf("%s: generation %d has %+v", name, gw.Generation, c)
		}
	}
}

// slow is a reader with which other things happen after a Gateway was read: the first of then after the
// first time, and so on.
type slow struct {
	client.Reader
	then []func()
}

func (s *slow) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	err := s.Reader.Get(ctx, key, o, opts...)
	if _, ok := o.(*gwapiv1.Gateway); ok && len(s.then) > 0 {
		first := s.then[0]
		s.then = s.then[1:]
		first()
	}
	return err
}
