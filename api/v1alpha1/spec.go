// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Certificates says who signs the mesh's certificates, and for how long.
type Certificates struct {
	// IssuerRef names a cert-manager issuer that can issue a certificate authority (isCA) below its
	// own. Left out, the operator makes a self-signed root and keeps it.
	// +optional
	IssuerRef *IssuerRef `json:"issuerRef,omitempty"`

	// WorkloadLifetime is how long a workload's certificate lives; it is renewed after two thirds of it.
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}(h|m|s))+$')",message="write a duration such as 24h or 1h30m"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,6}(h|m|s))+$') || (duration(self) >= duration('10m') && duration(self) <= duration('168h'))",message="write a lifetime between 10m and 168h: shorter ones load the control plane, longer ones outlive a stolen key"
	WorkloadLifetime metav1.Duration `json:"workloadLifetime,omitempty,omitzero"`

	// MaxClockSkew is how far the clocks of machines may be apart. A new intermediate certificate is used
	// only once it is this old, because a peer whose clock is behind would refuse it.
	// +optional
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}(h|m|s))+$')",message="write a duration such as 5m"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,6}(h|m|s))+$') || duration(self) <= duration('10m')",message="write at most 10m: workloads' certificates are valid from ten minutes before they are made"
	MaxClockSkew *metav1.Duration `json:"maxClockSkew,omitempty"`

	// KeyAlgorithm is the kind of the root's and the intermediate's keys. Workloads always use ECDSA P-256.
	// +optional
	// +kubebuilder:default="ECDSA-P256"
	KeyAlgorithm KeyAlgorithm `json:"keyAlgorithm,omitempty"`
}

// KeyAlgorithm is a kind of key.
//
// +kubebuilder:validation:Enum=ECDSA-P256;ECDSA-P384;RSA-2048;RSA-4096
type KeyAlgorithm string

// Kinds of keys.
const (
	ECDSAP256 KeyAlgorithm = "ECDSA-P256"
	ECDSAP384 KeyAlgorithm = "ECDSA-P384"
	RSA2048   KeyAlgorithm = "RSA-2048"
	RSA4096   KeyAlgorithm = "RSA-4096"
)

// IssuerRef names a cert-manager issuer. An Issuer is looked for in the operator's namespace.
//
// +kubebuilder:validation:XValidation:rule="self.group != 'cert-manager.io' || self.kind in ['Issuer', 'ClusterIssuer']",message="kind must be Issuer or ClusterIssuer; for an external issuer, write its API group in group too"
type IssuerRef struct {
	// Name of the issuer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Kind of the issuer. Every namespace may ask a ClusterIssuer for certificates, and only the operator's
	// namespace an Issuer, which is safer.
	// +optional
	// +kubebuilder:default="Issuer"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`
	// Group of the issuer's API; another one than cert-manager's is an external issuer.
	// +optional
	// +kubebuilder:default="cert-manager.io"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`
}

// Placement says on which nodes pods run, and how important they are.
type Placement struct {
	// NodeSelector limits the nodes by their labels.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Tolerations let the pods run on tainted nodes.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// Affinity replaces the default, which spreads the pods over nodes where it can.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// PriorityClassName of the pods.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
}

// ControlPlane says how the control plane is deployed.
type ControlPlane struct {
	// Replicas of the control plane. Any of them serves any proxy.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 16",message="write 1 to 16 replicas: without a control plane, new pods don't start"
	Replicas *int32 `json:"replicas,omitempty"`
	// Autoscaling has the operator set the number of replicas, and Replicas means nothing then.
	// +optional
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`
	// Resources of each replica. Left out, they are set for a middling cluster.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty,omitzero"`
	// SourceAddressCheck tells whether the control plane signs certificates and sends configuration only if the
	// request comes from an address of its pod. Set it to Disabled only if the cluster rewrites the source
	// addresses of pods: a stolen token or key of a workload can then be used from any address.
	// +optional
	// +kubebuilder:default="Enabled"
	SourceAddressCheck SourceAddressCheck `json:"sourceAddressCheck,omitempty"`

	Placement `json:",inline"`
}

// SourceAddressCheck tells whether a request must come from an address of its pod.
//
// +kubebuilder:validation:Enum=Enabled;Disabled
type SourceAddressCheck string

// Settings of the check of source addresses. Everything but Disabled means Enabled.
const (
	SourceAddressCheckEnabled  SourceAddressCheck = "Enabled"
	SourceAddressCheckDisabled SourceAddressCheck = "Disabled"
)

// Proxy says how proxies run.
type Proxy struct {
	// Resources of each proxy. Left out, they are 50m CPU and 96Mi of memory, at most 1Gi.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty,omitzero"`
	// Concurrency is the number of Envoy's worker threads.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 64",message="write 1 to 64 worker threads"
	Concurrency int32 `json:"concurrency,omitempty"`
	// LogLevel is Envoy's.
	// +optional
	// +kubebuilder:default="warning"
	LogLevel LogLevel `json:"logLevel,omitempty"`
	// DrainTime is how long connections get to end when a proxy stops.
	// +optional
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}(h|m|s))+$')",message="write a duration such as 30s or 2m"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,6}(h|m|s))+$') || duration(self) <= duration('1h')",message="write a drain time of at most 1h"
	DrainTime metav1.Duration `json:"drainTime,omitempty,omitzero"`
}

// LogLevel is a log level of Envoy.
//
// +kubebuilder:validation:Enum=trace;debug;info;warning;error;critical;off
type LogLevel string

// Injection says which pods get a proxy. The label tulle.dev/inject ("enabled" or "disabled") on a
// pod wins over the same label on its namespace, and that wins over NamespaceSelector.
type Injection struct {
	// NamespaceSelector adds namespaces to those with the label tulle.dev/inject=enabled.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// AllowedAnnotations are the annotations by which pods may change how they are injected. Left
	// out, all that Tulle knows are allowed; an empty list allows none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	AllowedAnnotations *[]WorkloadAnnotation `json:"allowedAnnotations,omitempty"`
	// Missing says what happens to running pods that ask for a proxy and have none, because the label
	// came later or the webhook was not called. Ignore counts them in status.proxies.missing. Evict also
	// evicts them, a few at a time, as PodDisruptionBudgets allow; but no pods of Jobs, and none that
	// nothing would make anew.
	// +optional
	// +kubebuilder:default="Ignore"
	Missing MissingPolicy `json:"missing,omitempty"`
}

// MissingPolicy is what happens to pods that lack a proxy.
//
// +kubebuilder:validation:Enum=Ignore;Evict
type MissingPolicy string

// What happens to pods that lack a proxy.
const (
	MissingIgnore MissingPolicy = "Ignore"
	MissingEvict  MissingPolicy = "Evict"
)

// WorkloadAnnotation is an annotation by which a pod changes how it is injected.
//
// +kubebuilder:validation:Enum=tulle.dev/exclude-inbound-ports;tulle.dev/exclude-outbound-ports;tulle.dev/exclude-outbound-ips;tulle.dev/proxy-log-level;tulle.dev/proxy-concurrency;tulle.dev/proxy-cpu-request;tulle.dev/proxy-cpu-limit;tulle.dev/proxy-memory-request;tulle.dev/proxy-memory-limit;tulle.dev/drain-seconds
type WorkloadAnnotation string

// MTLS says whether plaintext is still taken.
type MTLS struct {
	// Mode is Permissive (mutual TLS between proxies, plaintext from anybody else) or Strict (mutual TLS only).
	// +optional
	// +kubebuilder:default="Permissive"
	Mode MTLSMode `json:"mode,omitempty"`
}

// MTLSMode is what a proxy takes from its peers.
//
// +kubebuilder:validation:Enum=Permissive;Strict
type MTLSMode string

// Modes of mutual TLS.
const (
	MTLSPermissive MTLSMode = "Permissive"
	MTLSStrict     MTLSMode = "Strict"
)
