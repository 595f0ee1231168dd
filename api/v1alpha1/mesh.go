// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Mesh is a service mesh: its version, its certificate authority, its control plane and what its
// proxies do unless told otherwise. There is one active Mesh in a cluster, the oldest.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,path=meshes,singular=mesh,shortName=tmesh,categories=tulle
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.spec.version`,description="The release asked for."
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether everything works; see the conditions if not."
// +kubebuilder:printcolumn:name="Proxies",type=string,JSONPath=`.status.proxies.summary`,description="Proxies of the release asked for, of all."
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="the name is used as a label value: write at most 63 characters"
// +kubebuilder:validation:XValidation:rule="self.spec.version == oldSelf.spec.version || !has(self.status) || !has(self.status.version) || !self.spec.version.matches('^[0-9]{1,9}[.][0-9]{1,9}[.]') || !self.status.version.matches('^[0-9]{1,9}[.][0-9]{1,9}[.]') || (self.status.version.split('.')[0] == self.spec.version.split('.')[0] && int(self.spec.version.split('.')[1]) - int(self.status.version.split('.')[1]) in [-1, 0, 1])",message="write a version that is at most one minor away from status.version, and go on from there",messageExpression="self.status.version + ' cannot go to ' + self.spec.version + (self.status.version.split('.')[0] != self.spec.version.split('.')[0] ? ': there is no way from one major version to another but a new mesh' : ' at once: set spec.version to ' + self.status.version.find('^[0-9]+') + '.' + ' 0 1 2 3 4 5 6 7 8 910111213141516171819202122232425262728293031323334353637383940'.substring(2 * (int(self.status.version.split('.')[1]) < int(self.spec.version.split('.')[1]) ? int(self.status.version.split('.')[1]) + 1 : int(self.status.version.split('.')[1]) - 1), 2 * (int(self.status.version.split('.')[1]) < int(self.spec.version.split('.')[1]) ? int(self.status.version.split('.')[1]) + 1 : int(self.status.version.split('.')[1]) - 1) + 2).trim() + '.x, then go on one minor at a time to ' + self.spec.version)"
type Mesh struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what is wanted.
	// +required
	Spec MeshSpec `json:"spec"`
	// Status is what is.
	// +optional
	Status MeshStatus `json:"status,omitempty,omitzero"`
}

// MeshList is a list of Meshes.
//
// +kubebuilder:object:root=true
type MeshList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Mesh `json:"items"`
}

// MeshSpec is what is wanted of a mesh. Only the version must be said.
type MeshSpec struct {
	// Version is the release to run, for example "0.3.0". The operator knows a few; an unknown one
	// changes nothing and is told in the condition Valid, which lists those that are known. A change
	// goes at most one minor version away from status.version at once, up or down.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]+[.][0-9]+[.][0-9]+(-[0-9a-z]+([.-][0-9a-z]+)*)?$')",message="write a release such as 0.1.0, without a leading v"
	Version string `json:"version"`

	// TrustDomain is the first part of every identity: spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICEACCOUNT.
	// It can't be changed, because every certificate in use carries it.
	// +optional
	// +kubebuilder:default="cluster.local"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')",message="write a DNS name in lower case, such as cluster.local or mesh.example.com: letters, digits, '-' and '.', without spiffe:// and without a port"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9]+([.][0-9]+){3}$')",message="write a DNS name such as mesh.example.com: an IP address can't be a trust domain"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the trust domain can't change while the mesh runs: write the old value back, or delete the Mesh and make a new one"
	TrustDomain string `json:"trustDomain,omitempty"`

	// Certificates says who signs, and for how long.
	// +optional
	// +kubebuilder:default={}
	Certificates Certificates `json:"certificates,omitempty,omitzero"`
	// ControlPlane says how the control plane is deployed.
	// +optional
	// +kubebuilder:default={}
	ControlPlane ControlPlane `json:"controlPlane,omitempty,omitzero"`
	// Proxy says how proxies run; pods may say otherwise by annotation.
	// +optional
	// +kubebuilder:default={}
	Proxy Proxy `json:"proxy,omitempty,omitzero"`
	// Injection says which pods get a proxy.
	// +optional
	// +kubebuilder:default={}
	Injection Injection `json:"injection,omitempty,omitzero"`
	// MTLS says whether plaintext is still taken.
	// +optional
	// +kubebuilder:default={}
	MTLS MTLS `json:"mtls,omitempty,omitzero"`
	// Gateway says how the proxies of Gateways are deployed.
	// +optional
	// +kubebuilder:default={}
	Gateway GatewayDefaults `json:"gateway,omitempty,omitzero"`
	// Upgrade says how a change of the version is carried out.
	// +optional
	// +kubebuilder:default={}
	Upgrade Upgrade `json:"upgrade,omitempty,omitzero"`
}
