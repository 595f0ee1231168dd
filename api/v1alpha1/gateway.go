// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
)

// GatewayDefaults says how the proxies of Gateways are deployed. Annotations in a Gateway's
// spec.infrastructure take precedence for that Gateway.
type GatewayDefaults struct {
	// Replicas of each Gateway's proxy. If something else scales the Deployment, its number stays.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 64",message="write 1 to 64 replicas"
	Replicas *int32 `json:"replicas,omitempty"`
	// Autoscaling creates a HorizontalPodAutoscaler for each Gateway. Replicas has no effect then.
	// +optional
	Autoscaling *GatewayAutoscaling `json:"autoscaling,omitempty"`
	// Resources of each proxy. If empty, spec.proxy.resources applies.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty,omitzero"`
	// ServiceType of the Services made for Gateways.
	// +optional
	// +kubebuilder:default="LoadBalancer"
	ServiceType GatewayServiceType `json:"serviceType,omitempty"`
	// ExternalTrafficPolicy of Services of type LoadBalancer and NodePort. With Local, proxies see the
	// addresses of clients. If empty, the field is left to Kubernetes and to whoever sets it on the Service.
	// +optional
	ExternalTrafficPolicy ExternalTrafficPolicy `json:"externalTrafficPolicy,omitempty"`

	Placement `json:",inline"`
}

// GatewayAutoscaling are the bounds of a Gateway's HorizontalPodAutoscaler. The cluster needs a metrics
// server for it.
//
// +kubebuilder:validation:XValidation:rule="self.minReplicas <= self.maxReplicas",message="write a minReplicas that is at most maxReplicas"
type GatewayAutoscaling struct {
	// MinReplicas is the least number of proxies.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 64",message="write 1 to 64 replicas"
	MinReplicas int32 `json:"minReplicas,omitempty"`
	// MaxReplicas is the greatest number of proxies.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 64",message="write 1 to 64 replicas"
	MaxReplicas int32 `json:"maxReplicas"`
	// TargetCPUPercent is the CPU that a proxy is to use on average, in percent of its CPU request.
	// +optional
	// +kubebuilder:default=80
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 1000",message="write 1 to 1000 percent of the CPU request"
	TargetCPUPercent int32 `json:"targetCPUPercent,omitempty"`
}

// GatewayServiceType is how a Gateway's Service is reached.
//
// +kubebuilder:validation:Enum=LoadBalancer;NodePort;ClusterIP
type GatewayServiceType string

// ExternalTrafficPolicy says whether nodes pass connections from outside on to proxies on other nodes.
//
// +kubebuilder:validation:Enum=Cluster;Local
type ExternalTrafficPolicy string
