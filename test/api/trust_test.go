// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
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
