// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/names"
)

// secretsOnDemand: the control plane is bound to the role that reads Secrets and ConfigMaps when a Gateway, a
// ListenerSet or a BackendTLSPolicy refers to one, and no longer when none does. Gateways of classes of other
// controllers, or of no class, do not count, whenever their class comes or goes.
func secretsOnDemand(t *testing.T) {
	namespace(t, "referring", nil)
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: controlPlane + "-gateway-secrets"}}
	gone(t, binding)
	withCertificate := listener("https", 443, "HTTPS")
	withCertificate.TLS = &gwapiv1.ListenerTLSConfig{CertificateRefs: []gwapiv1.SecretObjectReference{{Name: "cert"}}}
	newClass := func(controller gwapiv1.GatewayController) *gwapiv1.GatewayClass {
		class := &gwapiv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "referring"}, Spec: gwapiv1.GatewayClassSpec{ControllerName: controller}}
		if err := admin.Create(t.Context(), class); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Delete(context.Background(), class) })
		return class
	}
	removed := func(o client.Object) {
		if err := admin.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		gone(t, o)
	}
	// A Gateway whose class comes, goes, and comes as that of another controller.
	other := &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "referring", Name: "other"}, Spec: gwapiv1.GatewaySpec{
		GatewayClassName: "referring", Listeners: []gwapiv1.Listener{withCertificate},
	}}
	if err := admin.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Delete(context.Background(), other) })
	class := newClass(names.ControllerName)
	there(t, binding)
	removed(class)
	gone(t, binding)
	class = newClass("example.com/gateway")
	gw := newGateway(t, "referring", "tls", nil)
	gone(t, binding)
	update(t, gw, func() {
		gw.Spec.Listeners = append(gw.Spec.Listeners, withCertificate)
	})
	there(t, binding)
	if binding.RoleRef.Name != names.GatewaySecretsRole {
		t.Errorf("bound to %s", binding.RoleRef.Name)
	}
	update(t, gw, func() { gw.Spec.Listeners = gw.Spec.Listeners[:1] })
	gone(t, binding)
	// A ListenerSet counts with its Gateway's class.
	set := &gwapiv1.ListenerSet{ObjectMeta: metav1.ObjectMeta{Namespace: "referring", Name: "set"}, Spec: gwapiv1.ListenerSetSpec{
		ParentRef: gwapiv1.ParentGatewayReference{Name: "tls"}, Listeners: []gwapiv1.ListenerEntry{gwapiv1.ListenerEntry(withCertificate)},
	}}
	if err := admin.Create(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	there(t, binding)
	update(t, gw, func() { gw.Spec.GatewayClassName = "referring" })
	gone(t, binding)
	update(t, gw, func() { gw.Spec.GatewayClassName = names.GatewayClass })
	there(t, binding)
	removed(set)
	gone(t, binding)
	removed(class)
	policy := &gwapiv1.BackendTLSPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "referring", Name: "tls"}, Spec: gwapiv1.BackendTLSPolicySpec{
		TargetRefs: []gwapiv1.LocalPolicyTargetReferenceWithSectionName{{LocalPolicyTargetReference: gwapiv1.LocalPolicyTargetReference{Kind: "Service", Name: "web"}}},
		Validation: gwapiv1.BackendTLSPolicyValidation{Hostname: "web.example", CACertificateRefs: []gwapiv1.LocalObjectReference{{Kind: "ConfigMap", Name: "ca"}}},
	}}
	if err := admin.Create(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	there(t, binding)
	if err := admin.Delete(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	gone(t, binding)
}
