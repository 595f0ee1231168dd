// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwapixv1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"tulle.dev/tulle/internal/names"
)

// GatewayClass is Tulle's class of Gateways.
func GatewayClass(in Input) Object {
	return object(gwapiv1.GroupVersion.String(), "GatewayClass", &gwapiv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: names.GatewayClass, Labels: in.labels()},
		Spec: gwapiv1.GatewayClassSpec{
			ControllerName: names.ControllerName,
			Description:    ptr("Gateways served by Tulle's Envoy proxies"),
		},
	})
}

// XMesh is the Gateway API's own view of the mesh. It is made if there is none, with its name and
// controllerName only, and its spec is never changed afterwards (GEP-3949).
func XMesh() Object {
	return object(gwapixv1.GroupVersion.String(), "XMesh", &gwapixv1.XMesh{
		ObjectMeta: metav1.ObjectMeta{Name: names.XMesh},
		Spec:       gwapixv1.MeshSpec{ControllerName: names.ControllerName},
	})
}
