// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RotationPhase is how far a change of the root has come.
type RotationPhase string

// Phases of a change of the root, in their order. Until Retiring it can be turned back.
const (
	// RotationPreparing waits for an intermediate below the new root. Nothing uses it yet.
	RotationPreparing RotationPhase = "Preparing"
	// RotationDistributing adds the new root to what every proxy trusts, and waits until each has it.
	RotationDistributing RotationPhase = "Distributing"
	// RotationSigning has the control plane sign with the new intermediate, in every replica.
	RotationSigning RotationPhase = "Signing"
	// RotationTurningOver has the proxies renew their certificates, and waits for the last of them.
	RotationTurningOver RotationPhase = "TurningOver"
	// RotationRetiring takes the old root from what proxies trust. From here on there is no way back.
	RotationRetiring RotationPhase = "Retiring"
	// RotationCompleted: nothing hangs from the old root, and nobody trusts it.
	RotationCompleted RotationPhase = "Completed"
	// RotationCancelled: it was called off before anything was signed below the new root.
	RotationCancelled RotationPhase = "Cancelled"
	// RotationRefused: it was asked for, but the root is not the operator's to change; the message says more.
	RotationRefused RotationPhase = "Refused"
)

// RotationTrigger is why the root changes.
type RotationTrigger string

// Triggers of a change of the root.
const (
	// TriggerRequested: the annotation tulle.dev/rotate-root got a new value (tulle ca rotate).
	TriggerRequested RotationTrigger = "Requested"
	// TriggerExpiring: the self-made root has less than a fifth of its life left.
	TriggerExpiring RotationTrigger = "Expiring"
	// TriggerIssuerChanged: spec.certificates.issuerRef names another issuer.
	TriggerIssuerChanged RotationTrigger = "IssuerChanged"
	// TriggerRootLost: the Secret of the self-made root has gone, or holds another key.
	TriggerRootLost RotationTrigger = "RootLost"
	// TriggerRootChanged: the issuer's own root changed, or an earlier change was turned back half-way.
	// Only the certificates that hang from other roots are still to go.
	TriggerRootChanged RotationTrigger = "RootChanged"
)

// CertificatesStatus is how the latest change of the root goes, or went.
type CertificatesStatus struct {
	// Phase it is in, and since when.
	Phase RotationPhase `json:"phase"`
	Since metav1.Time   `json:"since"`
	// Started is when it began.
	Started metav1.Time `json:"started"`
	// Trigger is why it began.
	Trigger RotationTrigger `json:"trigger"`
	// Request is the value of the annotation tulle.dev/rotate-root that was dealt with last.
	// +optional
	Request string `json:"request,omitempty"`
	// From and To are the issuers of the intermediate, as KIND.GROUP/NAME.
	// +optional
	From string `json:"from,omitempty"`
	// +optional
	To string `json:"to,omitempty"`
	// OldRoot and NewRoot are the SHA-256 fingerprints of the roots, in lower-case hex.
	// +optional
	OldRoot string `json:"oldRoot,omitempty"`
	// +optional
	NewRoot string `json:"newRoot,omitempty"`
	// Message says what it waits for.
	// +optional
	Message string `json:"message,omitempty"`
	// Proxies that are connected or waited for, and Done of them with what this phase brings.
	// +optional
	Proxies int32 `json:"proxies,omitempty"`
	// +optional
	Done int32 `json:"done,omitempty"`
	// RenewIssuedBefore is when the last replica of the control plane began to sign below the new root:
	// proxies renew certificates that are older.
	// +optional
	RenewIssuedBefore *metav1.Time `json:"renewIssuedBefore,omitempty"`
}

// Active tells whether the root is being changed now. Nil is not.
func (s *CertificatesStatus) Active() bool {
	if s == nil {
		return false
	}
	switch s.Phase {
	case RotationPreparing, RotationDistributing, RotationSigning, RotationTurningOver, RotationRetiring:
		return true
	case RotationCompleted, RotationCancelled, RotationRefused:
	}
	return false
}
