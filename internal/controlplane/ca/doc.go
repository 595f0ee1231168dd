// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package ca is the mesh's signing service: it turns a pod's proof of who it is
// into a short-lived workload certificate.
//
//	Secret of cert-manager -> Authority (chain, key, roots; reloaded while running)
//	agent's request -> Signer: CSR, token, live pod, source address -> leaf
//	client certificate on the ADS port -> anchors (is it ours?) -> Principal
//
// It owns what a workload certificate looks like, who may have one, and the
// control plane's own TLS. It knows nothing of xDS and of how pods are watched:
// the caller hands in a lookup function.
//
// Invariant: what a certificate says comes from a token that the API server
// vouched for and from the pod that the token is bound to, never from the CSR.
//
// Start with signer.go, the way of one request; check.go holds its decisions.
package ca
