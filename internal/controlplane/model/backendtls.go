// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

// Via says which variant of a Service port's cluster is used. The zero value is the ordinary one, in
// which a proxy adds no TLS but the mesh's own.
type Via struct {
	// TLS: the proxy begins TLS with endpoints that have no proxy, as a BackendTLSPolicy says.
	TLS bool
	// Gateway, with TLS, is the one whose client certificate is shown to them; zero: none is.
	Gateway Key `json:",omitzero"`
}

// BackendTLS is how TLS is spoken with the endpoints of a Service port that have no proxy (GEP-1897).
type BackendTLS struct {
	// Unusable: what the policy says can't be carried out, so that nothing may be sent to them.
	// Nothing else is set then.
	Unusable bool
	// Hostname is sent as server name indication.
	Hostname string
	// Names are those of which the certificate must carry one; never empty.
	Names []AltName
	// System: the authorities that the web trusts (wellKnownCACertificates). Else Authorities are the
	// ConfigMaps with the certificates to trust, and without a namespace the ClusterTrustBundles, never empty.
	System      bool `json:",omitzero"`
	Authorities []Key
}

// AltName is a subject alternative name: a DNS name, perhaps with a wildcard as its first label, or a URI.
type AltName struct {
	URI   bool
	Value string
}

// BackendCA becomes the Secret with the authorities for the endpoints of a Service port.
type BackendCA struct {
	Key PortKey
	// Certificates are PEM; never empty.
	Certificates string
}

// ClientValidation is what a Gateway's HTTPS listener asks of the certificates of its clients (GEP-91).
type ClientValidation struct {
	// Authorities are BackendTLS.Authorities, never empty.
	Authorities []Key
	// Optional: clients are asked for a certificate and served whether or not they show a good one
	// (AllowInsecureFallback).
	Optional bool
}

// GatewayClients becomes the Secret with which the HTTPS listeners of a Gateway's port check clients.
type GatewayClients struct {
	Gateway Key
	Port    uint16
	// Certificates are PEM; never empty.
	Certificates string
	// Optional is ClientValidation's.
	Optional bool
}
