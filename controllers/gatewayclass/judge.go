// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayclass

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwapixv1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
)

// Facts is what the statuses depend on.
type Facts struct {
	// Mesh is the active Mesh; nil: there is none.
	Mesh *v1alpha1.Mesh
	// Release is the one that serves; the zero value: none yet.
	Release release.Release
	// Definitions are the CRDs of the Gateway API that are installed.
	Definitions []Definition
}

// Definition is a CustomResourceDefinition of the Gateway API. Bundle is its release, and Channel one of
// "standard" and "experimental", as its annotations say; empty if they say nothing.
type Definition struct{ Name, Bundle, Channel string }

// Class is the status of a GatewayClass, with the times of conditions from its present status.
func Class(c *gwapiv1.GatewayClass, f Facts) gwapiv1.GatewayClassStatus {
	s := *c.Status.DeepCopy()
	set := func(t gwapiv1.GatewayClassConditionType, status metav1.ConditionStatus, reason gwapiv1.GatewayClassConditionReason, message string) {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: string(t), Status: status, Reason: string(reason), Message: message, ObservedGeneration: c.Generation,
		})
	}
	switch {
	case c.Spec.ParametersRef != nil:
		set(gwapiv1.GatewayClassConditionStatusAccepted, metav1.ConditionFalse, gwapiv1.GatewayClassReasonInvalidParameters,
			"parametersRef is not supported; take it away and set defaults for Gateways in spec.gateway of the Mesh")
	case f.Mesh == nil:
		set(gwapiv1.GatewayClassConditionStatusAccepted, metav1.ConditionFalse, gwapiv1.GatewayClassReasonPending,
			"there is no Mesh; make one, and Gateways of this class are served")
	default:
		set(gwapiv1.GatewayClassConditionStatusAccepted, metav1.ConditionTrue, gwapiv1.GatewayClassReasonAccepted,
			"Gateways of this class are served by Mesh "+f.Mesh.Name)
	}
	if bundles, others := versions(f.Definitions); len(others) == 0 && len(bundles) > 0 {
		set(gwapiv1.GatewayClassConditionStatusSupportedVersion, metav1.ConditionTrue, gwapiv1.GatewayClassReasonSupportedVersion,
			"The installed Gateway API is supported: "+strings.Join(bundles, ", "))
	} else {
		set(gwapiv1.GatewayClassConditionStatusSupportedVersion, metav1.ConditionFalse, gwapiv1.GatewayClassReasonUnsupportedVersion,
			fmt.Sprintf("Tulle supports Gateway API %s. Not supported: %s. Kinds and fields that Tulle does not support are ignored, and everything else works",
				release.GatewayAPIVersions, few(others)))
	}
	s.SupportedFeatures = features(f.Release.GatewayFeatures)
	return s
}

// versions returns the releases of the definitions with their channels, and the definitions that are of a
// release that Tulle does not support or that do not say of which they are. Both are sorted.
func versions(list []Definition) (bundles, others []string) {
	for _, d := range list {
		bundle := cmp.Or(d.Bundle, "unknown release") + " (" + cmp.Or(d.Channel, "unknown") + " channel)"
		if release.SupportsGatewayAPI(d.Bundle, d.Channel) {
			bundles = append(bundles, bundle)
		} else {
			others = append(others, d.Name+" of "+bundle)
		}
	}
	slices.Sort(bundles)
	slices.Sort(others)
	return slices.Compact(bundles), others
}

// few joins the first of many.
func few(list []string) string {
	const shown = 3
	out := cmp.Or(strings.Join(list[:min(len(list), shown)], ", "), "no definition is installed")
	if n := len(list) - shown; n > 0 {
		out += fmt.Sprintf(" and %d more", n)
	}
	return out
}

// XMesh is the status of an XMesh. Its parametersRef may name the active Mesh, and nothing else.
func XMesh(x *gwapixv1.XMesh, f Facts) gwapixv1.MeshStatus {
	s := *x.Status.DeepCopy()
	set := func(status metav1.ConditionStatus, reason gwapixv1.MeshConditionReason, message string) {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: string(gwapixv1.MeshConditionAccepted), Status: status, Reason: string(reason), Message: message, ObservedGeneration: x.Generation,
		})
	}
	switch ref := x.Spec.ParametersRef; {
	case f.Mesh == nil:
		set(metav1.ConditionUnknown, gwapixv1.MeshReasonPending, "there is no Mesh; make one, and it serves this resource")
	case ref != nil && (string(ref.Group) != v1alpha1.Group || ref.Kind != "Mesh" || ref.Name != f.Mesh.Name || ref.Namespace != nil):
		set(metav1.ConditionFalse, gwapixv1.MeshReasonInvalidParameters, fmt.Sprintf(
			"parametersRef may only name the active Mesh: group %s, kind Mesh, name %s, no namespace", v1alpha1.Group, f.Mesh.Name,
		))
	default:
		set(metav1.ConditionTrue, gwapixv1.MeshReasonAccepted, "served by Mesh "+f.Mesh.Name+" (tulle.dev)")
	}
	s.SupportedFeatures = features(f.Release.MeshFeatures)
	return s
}

// features are in the order in which the release has them, which is by name.
func features(names []string) []gwapiv1.SupportedFeature {
	var out []gwapiv1.SupportedFeature
	for _, n := range names {
		out = append(out, gwapiv1.SupportedFeature{Name: gwapiv1.FeatureName(n)})
	}
	return out
}
