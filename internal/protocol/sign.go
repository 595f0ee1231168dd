// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package protocol

import "time"

// SignPath is where an agent asks for its certificate: POST of SignRequest over TLS to PortSign,
// with "Authorization: Bearer TOKEN", a projected service account token of audience
// names.TokenAudience. The identity in the certificate comes from the token alone; the CSR only
// carries the public key and the proof of its possession. Answers: 200 SignResponse; 400 malformed
// or oversized; 401 token refused; 403 the pod is not a live pod of this mesh; 429 with
// Retry-After; 503 no intermediate yet. Errors are SignError as JSON.
const SignPath = "/v1/certificate"

// MaxSignRequest is the largest body of a SignRequest, in bytes.
const MaxSignRequest = 16 << 10

// SignRequest asks for a workload certificate.
type SignRequest struct {
	// CSR is PEM ("CERTIFICATE REQUEST"). ECDSA P-256 or P-384, or RSA of at least 2048 bits.
	CSR string `json:"csr"`
	// Pod and PodUID name the pod the token must be bound to.
	Pod    string `json:"pod"`
	PodUID string `json:"podUID"`
	// Lifetime wanted; the control plane may give less. 0 means its default.
	Lifetime Duration `json:"lifetime,omitempty"`
}

// SignResponse is a workload certificate and what to trust.
type SignResponse struct {
	// Chain is PEM: the leaf, then the intermediate.
	Chain string `json:"chain"`
	// Roots is PEM: every active root.
	Roots string `json:"roots"`
	// NotBefore and NotAfter bound the leaf's life. It is renewed after two thirds of it.
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
}

// SignError is the body of every refusal: a sentence for the agent's log and the pod's owner.
type SignError struct {
	Message string `json:"message"`
}

// Subject of a workload certificate, beside the one SPIFFE URI: CommonName is the pod's name and
// SerialNumber its UID, so that the ADS server knows the pod without asking again.
// OrganizationalUnit is names.KindSidecar, names.KindGateway or
// names.KindClient.
