// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// TestClusterAddresses: a Gateway all of whose addresses are to be reachable in the cluster alone gets no
// others, whatever it or the Mesh says of its Service; an address in the cluster is not asked of a load
// balancer.
func TestClusterAddresses(t *testing.T) {
	const cluster = gwapiv1.GatewayAddressRoutabilityCluster
	for name, c := range map[string]struct {
		addresses []gwapiv1.GatewaySpecAddress
		want      corev1.ServiceType
		ip        string
	}{
		"none":                {nil, corev1.ServiceTypeLoadBalancer, ""},
		"anywhere":            {[]gwapiv1.GatewaySpecAddress{{Value: "192.0.2.7"}}, corev1.ServiceTypeLoadBalancer, "192.0.2.7"},
		"in the cluster":      {[]gwapiv1.GatewaySpecAddress{{Routability: cluster}}, corev1.ServiceTypeClusterIP, ""},
		"both":                {[]gwapiv1.GatewaySpecAddress{{Routability: cluster, Value: "10.96.0.7"}, {}}, corev1.ServiceTypeLoadBalancer, ""},
		"another routability": {[]gwapiv1.GatewaySpecAddress{{Routability: "example.com/wan", Value: "192.0.2.7"}}, corev1.ServiceTypeLoadBalancer, ""},
	} {
		t.Run(name, func(t *testing.T) {
			gw := &gwapiv1.Gateway{Spec: gwapiv1.GatewaySpec{Addresses: c.addresses, Infrastructure: &gwapiv1.GatewayInfrastructure{
				Annotations: map[gwapiv1.AnnotationKey]gwapiv1.AnnotationValue{names.AnnotationServiceType: "LoadBalancer"},
			}}}
			if got := GatewayServiceType(&v1alpha1.Mesh{}, gw); got != c.want {
				t.Errorf("type %s, want %s", got, c.want)
			}
			if got := WantedIP(gw); got != c.ip {
				t.Errorf("asks for %q, want %q", got, c.ip)
			}
		})
	}
}
