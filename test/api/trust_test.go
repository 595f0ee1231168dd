// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
)

func trustIn(ns string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "tulle-trust"}}
}

// rootsSpread follows the ConfigMap through every way for a namespace to be meshed, and to be no more.
func rootsSpread(t *testing.T) {
	namespace(t, "labelled", map[string]string{"tulle.dev/inject": "enabled"})
	namespace(t, "selected", map[string]string{"team": "a"})
	namespace(t, "refused", map[string]string{"team": "a", "tulle.dev/inject": "disabled"})
	namespace(t, "plain", nil)
	namespace(t, "single", nil)
	edit(t, "tulle", func(m *v1alpha1.Mesh) {
		m.Spec.Injection.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
	})
	single := pod(t, "single", "p", map[string]string{"tulle.dev/proxy": "sidecar"})

	original := trustIn(system)
	there(t, original)
	for _, ns := range []string{"labelled", "selected", "single"} {
		cm := trustIn(ns)
		there(t, cm)
		if cm.Data["ca.crt"] != original.Data["ca.crt"] {
			t.Errorf("namespace %s has other roots", ns)
		}
		if list := cm.Data["intermediates.pem"]; certificates(list) != 1 || list != original.Data["intermediates.pem"] || cm.Data["signers"] != "" {
			t.Errorf("namespace %s has other intermediates, or what is not for it: %v", ns, cm.Data)
		}
	}
	for _, ns := range []string{"plain", "refused"} {
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(trustIn(ns)), trustIn(ns)); err == nil {
			t.Errorf("namespace %s is not meshed and has roots", ns)
		}
	}

	// The control plane's addresses go along, and follow its Service when that is created again.
	addressesSpread(t, "labelled")

	// Drift.
	cm := trustIn("labelled")
	there(t, cm)
	if err := admin.Delete(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	cm = trustIn("labelled")
	there(t, cm)
	update(t, cm, func() {
		cm.Data["ca.crt"] = "nonsense"
		cm.Data["mine"] = "stays"
		delete(cm.Data, "intermediates.pem")
	})
	eventually(t, "edited roots and deleted intermediates are put right", func() string {
		there(t, cm)
		if cm.Data["ca.crt"] != original.Data["ca.crt"] || cm.Data["intermediates.pem"] != original.Data["intermediates.pem"] || cm.Data["mine"] != "stays" {
			return cm.Data["ca.crt"]
		}
		return ""
	})

	// No longer meshed: gone, unless a proxy is still there.
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "labelled"}}
	update(t, ns, func() { delete(ns.Labels, "tulle.dev/inject") })
	gone(t, trustIn("labelled"))
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Injection.NamespaceSelector = nil })
	gone(t, trustIn("selected"))
	there(t, trustIn("single"))
	if err := admin.Delete(t.Context(), single, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	gone(t, trustIn("single"))

	// A ConfigMap of that name that is somebody else's is left alone.
	other := trustIn("plain")
	other.Data = map[string]string{"ca.crt": "theirs"}
	if err := admin.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	ns = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "plain"}}
	update(t, ns, func() { ns.Labels["note"] = "seen" })
	namespace(t, "after", map[string]string{"tulle.dev/inject": "enabled"})
	there(t, trustIn("after")) // looked at later than plain
	there(t, trustIn("plain"))
}

// addressesSpread: the ConfigMap has the addresses of the control plane's Service, also of the next one.
func addressesSpread(t *testing.T, ns string) {
	t.Helper()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "tulle-controlplane"}}
	follows := func(what string) {
		eventually(t, what, func() string {
			if err := admin.Get(t.Context(), client.ObjectKeyFromObject(service), service); err != nil {
				return err.Error()
			}
			cm := trustIn(ns)
			there(t, cm)
			if want := strings.Join(service.Spec.ClusterIPs, "\n") + "\n"; len(service.Spec.ClusterIPs) == 0 || cm.Data["addresses"] != want {
				return cm.Data["addresses"] + ", want " + want
			}
			return ""
		})
	}
	follows("the control plane's addresses are in the namespace")
	if err := admin.Delete(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	follows("the addresses follow the Service")
}

// rootsRefused: a namespace's tenant keeps its roots from being written, by making the ConfigMap immutable or by
// a quota. The operator creates its own object again; what the API server refuses stands in the Mesh's condition,
// and ends there when the quota does.
func rootsRefused(t *testing.T) {
	namespace(t, "frozen", map[string]string{"tulle.dev/inject": "enabled"})
	cm := trustIn("frozen")
	there(t, cm)
	before := cm.UID
	update(t, cm, func() { cm.Immutable = ptr(true) })
	eventually(t, "the immutable ConfigMap is created again", func() string {
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(cm), cm); err != nil {
			return err.Error()
		}
		if cm.UID == before || cm.Immutable != nil && *cm.Immutable || cm.Data["ca.crt"] == "" {
			return fmt.Sprintf("%+v", cm)
		}
		return ""
	})

	// What a quota does, by a policy: no controller computes quotas here.
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "no-roots"}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create}, Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
		}}}},
		Validations: []admissionv1.Validation{{Expression: "object.metadata.namespace != 'full'", Message: "exceeded quota: c", Reason: ptr(metav1.StatusReasonForbidden)}},
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "no-roots"}, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: "no-roots", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	for _, o := range []client.Object{policy, binding} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Delete(context.WithoutCancel(t.Context()), o) })
	}
	namespace(t, "full", nil)
	eventually(t, "the quota works", func() string {
		if err := admin.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "full", Name: "x"}}, client.DryRunAll); err == nil {
			return "it does not"
		}
		return ""
	})
	full := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "full"}}
	update(t, full, func() { metav1.SetMetaDataLabel(&full.ObjectMeta, "tulle.dev/inject", "enabled") })
	says := func(want bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("condition InjectionReady names the namespace: %t", want), func() string {
			m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
			there(t, m)
			c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionInjectionReady)
			if c == nil || (strings.Contains(c.Message, "namespace full (") && strings.Contains(c.Message, "exceeded quota: c") && c.Reason == v1alpha1.ReasonRootsUnwritten) != want {
				return fmt.Sprintf("%+v", c)
			}
			return ""
		})
	}
	says(true)
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if err := admin.Delete(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	there(t, trustIn("full")) // after at most 30 s
	says(false)
	update(t, full, func() { delete(full.Labels, "tulle.dev/inject") })
	gone(t, trustIn("full"))
}
