// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Autoscaling lets the operator set the number of the control plane's replicas: up at once, down by one
// each time that fewer would have done for five minutes. During a change of the version it stays.
//
// +kubebuilder:validation:XValidation:rule="self.minReplicas <= self.maxReplicas",message="write a minReplicas that is at most maxReplicas"
type Autoscaling struct {
	// MinReplicas are always there.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 16",message="write 1 to 16 replicas: without a control plane, new pods don't start"
	MinReplicas int32 `json:"minReplicas,omitempty"`
	// MaxReplicas are never exceeded.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 16",message="write 1 to 16 replicas"
	MaxReplicas int32 `json:"maxReplicas"`
	// ProxiesPerReplica is how many connected proxies call for another replica.
	// +optional
	// +kubebuilder:default=500
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 100000",message="write 1 to 100000 proxies"
	ProxiesPerReplica int32 `json:"proxiesPerReplica,omitempty"`
	// TargetCPUPercent is how much CPU a replica is to use, in percent of its CPU request, averaged over
	// a minute and all replicas. Left out, CPU doesn't matter; nor does it while a replica doesn't tell.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 1000",message="write 1 to 1000 percent of the CPU request"
	TargetCPUPercent *int32 `json:"targetCPUPercent,omitempty"`
}

// AutoscalingStatus is what the operator decided last.
type AutoscalingStatus struct {
	// Replicas that there are to be.
	Replicas int32 `json:"replicas"`
	// LowerSince is since when fewer would do; left out: they would not.
	// +optional
	LowerSince *metav1.Time `json:"lowerSince,omitempty"`
}
