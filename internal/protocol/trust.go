// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package protocol

import "time"

// TrustReport is what one replica of the control plane knows of roots and intermediates, at
// names.PathTrust. Both are named by the SHA-256 of the certificate, in lower-case hex.
type TrustReport struct {
	// Roots are those that it tells its proxies to trust.
	Roots []string `json:"roots"`
	// Intermediates are those that it tells its proxies a chain must pass through; empty: a root suffices.
	Intermediates []string `json:"intermediates,omitempty"`
	// Signer is the intermediate that it signs with; empty: none yet, or the replica is of a release that
	// does not require intermediates (0.2.0 and before).
	Signer string `json:"signer,omitempty"`
	// Serves is the intermediate that signed the certificate which it shows to clients; empty as Signer.
	Serves string `json:"serves,omitempty"`
	// Signs are the roots by which the certificates that it signs now can be verified, SignsSince when
	// it began to sign with this intermediate, by its own clock.
	Signs      []string  `json:"signs"`
	SignsSince time.Time `json:"signsSince,omitzero"`
	// Proxies are those that are connected to it, one for each stream.
	Proxies []ProxyTrust `json:"proxies"`
}

// ProxyTrust is what is known of one connected proxy.
type ProxyTrust struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// Acknowledged: it has accepted every secret in the version that this replica has now, roots among them.
	Acknowledged bool `json:"acknowledged"`
	// Roots are those by which the certificate can be verified that it opened its stream with.
	Roots []string `json:"roots"`
	// Signer is what signed that certificate; empty where the report's is.
	Signer string `json:"signer,omitempty"`
	// NotAfter is when that certificate ends.
	NotAfter time.Time `json:"notAfter,omitzero"`
}
