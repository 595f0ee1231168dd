// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/names"
)

// secretsOnDemand: the control plane is bound to the role that reads Secrets and ConfigMaps when a Gateway, a
// ListenerSet or a BackendTLSPolicy refers to one, and no longer when none does.
func secretsOnDemand(t *testing.T) {
	namespace(t, "referring", nil)
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: controlPlane + "-gateway-secrets"}}
	gone(t, binding)
	gw := newGateway(t, "referring", "tls", nil)
	gone(t, binding)
	update(t, gw, func() {
		li := listener("https", 443, "HTTPS")
		li.TLS = &gwapiv1.ListenerTLSConfig{CertificateRefs: []gwapiv1.SecretObjectReference{{Name: "cert"}}}
		gw.Spec.Listeners = append(gw.Spec.Listeners, li)
	})
	there(t, binding)
	if binding.RoleRef.Name != names.GatewaySecretsRole {
		t.Errorf("bound to %s", binding.RoleRef.Name)
	}
	update(t, gw, func() { gw.Spec.Listeners = gw.Spec.Listeners[:1] })
	gone(t, binding)
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
