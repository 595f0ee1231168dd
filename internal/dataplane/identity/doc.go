// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package identity gets the workload's certificate from the control plane and
// keeps it fresh.
//
//	new key in memory -> CSR -> POST protocol.SignPath (token, mesh roots) -> Certificate
//	                     after two thirds of its life, or soon after a failure: again
//
// It knows nothing of Envoy or xDS: who needs the certificate is told of it.
// Invariant: private keys are not written to a file here (package client has to) and live no longer than
// their certificate; token and roots are read anew for every request, since
// the kubelet renews them.
package identity
