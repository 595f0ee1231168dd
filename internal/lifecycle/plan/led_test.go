// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
)

// TestWebhookFollowsTheService: the API server keeps a connection for each clientConfig, so that of the
// webhook differs when the Service begins to lead to another release, and again when it certainly does; in
// between, and for the roots, nothing changes.
func TestWebhookFollowsTheService(t *testing.T) {
	const roots = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
	bundle := func(version string, phase v1alpha1.UpgradePhase) string {
		d := decision{mesh: &v1alpha1.Mesh{}, roots: roots, serving: release.Release{Version: version}}
		if phase != "" {
			d.up = upgrade.Decision{Status: &v1alpha1.UpgradeStatus{Phase: phase}}
		}
		w := &admissionv1.MutatingWebhookConfiguration{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(render.Webhook(d.led()).Object, w); err != nil {
			t.Fatal(err)
		}
		return string(w.Webhooks[0].ClientConfig.CABundle)
	}
	old := bundle("0.2.0", v1alpha1.PhaseShadow)
	leading := bundle("0.3.0", v1alpha1.PhaseControlPlane)
	led := bundle("0.3.0", v1alpha1.PhaseDataPlane)
	if old == leading || leading == led || old == led {
		t.Errorf("the API server keeps a connection:\n%s%s%s", old, leading, led)
	}
	if later := bundle("0.3.0", ""); later != led {
		t.Errorf("the API server connects again without need:\n%s%s", led, later)
	}
	for _, b := range []string{old, leading, led} {
		if !strings.HasPrefix(b, roots) {
			t.Errorf("the bundle does not begin with the roots: %s", b)
		}
	}
}

// TestOneWebhook: where the Service leads to another release, the configuration of the former one goes at once, and
// not when the upgrade ends: a pod would be injected by both.
func TestOneWebhook(t *testing.T) {
	config := func(name string) Ref {
		return Ref{
			GroupVersionKind: schema.GroupVersionKind{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "MutatingWebhookConfiguration"},
			NamespacedName:   types.NamespacedName{Name: name},
		}
	}
	d := decision{mesh: &v1alpha1.Mesh{}, serving: release.Release{Version: "0.3.0"}}
	service := config("tulle-controlplane-0-2-0")
	service.Kind = "Service"
	d.seen.Owned = []Ref{config("tulle-controlplane-0-2-0"), config("tulle-controlplane-0-3-0"), service}
	s := d.webhook()
	if len(s.Apply) != 1 || s.Apply[0].GetName() != "tulle-controlplane-0-3-0" || len(s.Delete) != 1 || s.Delete[0] != d.seen.Owned[0] {
		t.Errorf("applied %d, deleted %v", len(s.Apply), s.Delete)
	}
}
