// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayclass

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwapixv1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
)

func facts() Facts {
	known := release.Known("a", "b")
	return Facts{
		Mesh:    &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}},
		Release: known[len(known)-1], Definitions: []Definition{{"gateways.gateway.networking.k8s.io", "v1.7.0", "experimental"}},
	}
}

// TestClass is the table of a GatewayClass's status.
func TestClass(t *testing.T) {
	for name, c := range map[string]struct {
		change              func(*gwapiv1.GatewayClass, *Facts)
		accepted, supported metav1.ConditionStatus
	}{
		"good":                 {func(*gwapiv1.GatewayClass, *Facts) {}, "True", "True"},
		"another patch":        {func(_ *gwapiv1.GatewayClass, f *Facts) { f.Definitions[0].Bundle = "v1.7.9" }, "True", "True"},
		"an older Gateway API": {func(_ *gwapiv1.GatewayClass, f *Facts) { f.Definitions[0].Bundle = "v1.2.1" }, "True", "False"},
		"the oldest":           {func(_ *gwapiv1.GatewayClass, f *Facts) { f.Definitions[0] = Definition{"x", "v1.3.0", "standard"} }, "True", "True"},
		"of no version":        {func(_ *gwapiv1.GatewayClass, f *Facts) { f.Definitions[0].Bundle = "" }, "True", "False"},
		"of no channel":        {func(_ *gwapiv1.GatewayClass, f *Facts) { f.Definitions[0].Channel = "" }, "True", "False"},
		"none":                 {func(_ *gwapiv1.GatewayClass, f *Facts) { f.Definitions = nil }, "True", "False"},
		"one of another version": {func(_ *gwapiv1.GatewayClass, f *Facts) {
			f.Definitions = append(f.Definitions, Definition{"xmeshes.gateway.networking.x-k8s.io", "v1.8.0", "experimental"})
		}, "True", "False"},
		"no Mesh":    {func(_ *gwapiv1.GatewayClass, f *Facts) { f.Mesh = nil }, "False", "True"},
		"parameters": {func(c *gwapiv1.GatewayClass, _ *Facts) { c.Spec.ParametersRef = &gwapiv1.ParametersReference{} }, "False", "True"},
	} {
		t.Run(name, func(t *testing.T) {
			class, f := &gwapiv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Generation: 3}}, facts()
			c.change(class, &f)
			s := Class(class, f)
			for kind, want := range map[string]metav1.ConditionStatus{"Accepted": c.accepted, "SupportedVersion": c.supported} {
				if got := meta.FindStatusCondition(s.Conditions, kind); got == nil || got.Status != want || got.ObservedGeneration != 3 || got.Message == "" {
					t.Errorf("%s: %+v", kind, got)
				}
			}
			if len(s.SupportedFeatures) == 0 {
				t.Error("no features")
			}
		})
	}
}

// TestXMesh is the table of an XMesh's status.
func TestXMesh(t *testing.T) {
	ref := func(group, kind, name string) *gwapiv1.ParametersReference {
		return &gwapiv1.ParametersReference{Group: gwapiv1.Group(group), Kind: gwapiv1.Kind(kind), Name: name}
	}
	ns := gwapiv1.Namespace("n")
	inNamespace := ref("tulle.dev", "Mesh", "tulle")
	inNamespace.Namespace = &ns
	for name, c := range map[string]struct {
		ref    *gwapiv1.ParametersReference
		mesh   bool
		status metav1.ConditionStatus
		reason gwapixv1.MeshConditionReason
	}{
		"good":           {nil, true, "True", gwapixv1.MeshReasonAccepted},
		"our Mesh":       {ref("tulle.dev", "Mesh", "tulle"), true, "True", gwapixv1.MeshReasonAccepted},
		"another Mesh":   {ref("tulle.dev", "Mesh", "other"), true, "False", gwapixv1.MeshReasonInvalidParameters},
		"another kind":   {ref("", "ConfigMap", "tulle"), true, "False", gwapixv1.MeshReasonInvalidParameters},
		"in a namespace": {inNamespace, true, "False", gwapixv1.MeshReasonInvalidParameters},
		"no Mesh":        {nil, false, "Unknown", gwapixv1.MeshReasonPending},
	} {
		t.Run(name, func(t *testing.T) {
			x, f := &gwapixv1.XMesh{ObjectMeta: metav1.ObjectMeta{Generation: 3}}, facts()
			x.Spec.ParametersRef = c.ref
			if !c.mesh {
				f.Mesh = nil
			}
			s := XMesh(x, f)
			got := meta.FindStatusCondition(s.Conditions, "Accepted")
			if got == nil || got.Status != c.status || got.Reason != string(c.reason) || got.ObservedGeneration != 3 {
				t.Errorf("got %+v", got)
			}
		})
	}
}
