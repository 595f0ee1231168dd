// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

// acceptEd25519 lets peers outside the mesh, whose certificates are checked, have Ed25519 keys. BoringSSL does not accept
// these unless it is asked to. The rest are its defaults, and P-521.
func acceptEd25519(p *tlsv3.TlsParameters) {
	p.SignatureAlgorithms = []string{
		"ecdsa_secp256r1_sha256", "ed25519", "rsa_pss_rsae_sha256", "rsa_pkcs1_sha256",
		"ecdsa_secp384r1_sha384", "rsa_pss_rsae_sha384", "rsa_pkcs1_sha384",
		"ecdsa_secp521r1_sha512", "rsa_pss_rsae_sha512", "rsa_pkcs1_sha512", "rsa_pkcs1_sha1",
	}
}
