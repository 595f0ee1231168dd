// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayclass

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwapixv1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"
	"sigs.k8s.io/gateway-api/pkg/consts"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
)

// Facts is what the statuses depend on.
type Facts struct {
	// Mesh is the active Mesh; nil: there is none.
	Mesh *v1alpha1.Mesh
	// Release is the one that serves; the zero value: none yet.
	Release release.Release
	// BundleVersion is that of the installed Gateway API, from its definitions; empty: not said.
	BundleVersion string
}

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
	if supported(f.BundleVersion) {
		set(gwapiv1.GatewayClassConditionStatusSupportedVersion, metav1.ConditionTrue, gwapiv1.GatewayClassReasonSupportedVersion,
			"the installed Gateway API "+f.BundleVersion+" is supported")
	} else {
		set(gwapiv1.GatewayClassConditionStatusSupportedVersion, metav1.ConditionFalse, gwapiv1.GatewayClassReasonUnsupportedVersion,
			fmt.Sprintf("the installed Gateway API is %q and this operator was made for %s; fields that it does not know are ignored", f.BundleVersion, consts.BundleVersion))
	}
	s.SupportedFeatures = features(f.Release.GatewayFeatures)
	return s
}

// supported tells whether a version of the Gateway API has the same major and minor number as the one built with.
func supported(version string) bool { return minor(version) == minor(consts.BundleVersion) }

func minor(version string) string {
	p := strings.SplitN(version, ".", 3)
	if len(p) < 3 {
		return version
	}
	return p[0] + "." + p[1]
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
