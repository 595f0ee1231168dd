// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MeshStatus is what is.
type MeshStatus struct {
	// ObservedGeneration is the generation of the spec that all of this is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready sums up Valid, CertificatesReady, ControlPlaneReady and InjectionReady.
	// Upgraded tells whether every proxy runs spec.version, IntermediatesRequired whether only certificates
	// are accepted that an intermediate of this mesh signed. Conflicted and InUse are there only when
	// there is something to say.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Version is the release that serves now.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Version string `json:"version,omitempty"`
	// Revision is Version as it appears in the names of objects.
	// +optional
	Revision string `json:"revision,omitempty"`
	// GatewayVersion is the release that the proxies of Gateways are deployed from; they follow after
	// all others.
	// +optional
	GatewayVersion string `json:"gatewayVersion,omitempty"`
	// ControlPlane counts the replicas of the revision that serves.
	// +optional
	ControlPlane *ControlPlaneStatus `json:"controlPlane,omitempty"`
	// Proxies counts the pods that carry a proxy.
	// +optional
	Proxies *ProxiesStatus `json:"proxies,omitempty"`
	// Upgrade is how the latest change of the version goes, or went.
	// +optional
	Upgrade *UpgradeStatus `json:"upgrade,omitempty"`
	// Certificates is how the latest change of the root goes, or went.
	// +optional
	Certificates *CertificatesStatus `json:"certificates,omitempty"`
	// Roots are the roots that every proxy trusts. A root that is no longer active stays until no
	// connected proxy's certificate hangs from it, or it ends.
	// +optional
	// +listType=map
	// +listMapKey=sha256
	// +kubebuilder:validation:MaxItems=16
	Roots []RootStatus `json:"roots,omitempty"`
	// Intermediates are the mesh's own intermediate certificates that the chain of a certificate may pass
	// through. One that no longer signs stays until no connected proxy's certificate was signed with it, or
	// it ends.
	// +optional
	// +listType=map
	// +listMapKey=sha256
	// +kubebuilder:validation:MaxItems=16
	Intermediates []IntermediateStatus `json:"intermediates,omitempty"`
	// IntermediatesRequiredSince is when proxies, agents and the control plane began to accept only
	// certificates whose chain passes through one of Intermediates. If unset, any certificate of the mesh's
	// roots with a name of the mesh is accepted; condition IntermediatesRequired says what is waited for.
	// +optional
	IntermediatesRequiredSince *metav1.Time `json:"intermediatesRequiredSince,omitempty"`
	// RootCertificateExpiry is when the first of the roots that new certificates hang from ends.
	// +optional
	RootCertificateExpiry *metav1.Time `json:"rootCertificateExpiry,omitempty"`
}

// RootStatus is a root certificate that every proxy trusts.
type RootStatus struct {
	// SHA256 is the fingerprint of the certificate, in lower-case hex.
	SHA256 string `json:"sha256"`
	// NotAfter is when it ends.
	NotAfter metav1.Time `json:"notAfter"`
	// Active tells whether new certificates hang from it.
	Active bool `json:"active"`
	// InactiveSince is when certificates stopped to hang from it.
	// +optional
	InactiveSince *metav1.Time `json:"inactiveSince,omitempty"`
}

// IntermediateStatus is an intermediate certificate of the mesh.
type IntermediateStatus struct {
	// SHA256 is the fingerprint of the certificate, in lower-case hex.
	SHA256 string `json:"sha256"`
	// NotAfter is when it ends.
	NotAfter metav1.Time `json:"notAfter"`
	// Since is when the operator first saw it.
	Since metav1.Time `json:"since"`
	// Active tells whether it is the one that cert-manager issued last.
	Active bool `json:"active"`
	// Distributed tells whether every proxy accepts what it signs, so that the control plane may sign with it.
	Distributed bool `json:"distributed"`
	// InactiveSince is when every replica of the control plane signed with a later one.
	// +optional
	InactiveSince *metav1.Time `json:"inactiveSince,omitempty"`
}

// ControlPlaneStatus counts replicas.
type ControlPlaneStatus struct {
	// Replicas wanted.
	Replicas int32 `json:"replicas"`
	// ReadyReplicas can serve.
	ReadyReplicas int32 `json:"readyReplicas"`
	// Autoscaling is what spec.controlPlane.autoscaling has led to.
	// +optional
	Autoscaling *AutoscalingStatus `json:"autoscaling,omitempty"`
}

// ProxiesStatus counts the pods that carry a proxy.
type ProxiesStatus struct {
	// Total number of pods that carry a proxy and have not ended.
	Total int32 `json:"total"`
	// UpToDate of them carry a proxy of the release asked for.
	UpToDate int32 `json:"upToDate"`
	// Connected of them have a stream to the control plane; left out when it can't be asked.
	// +optional
	Connected *int32 `json:"connected,omitempty"`
	// Missing counts pods that ask for a proxy, could have one and have none. They are not in Total.
	// +optional
	Missing int32 `json:"missing,omitempty"`
	// Summary is "UpToDate/Total".
	Summary string `json:"summary"`
}
