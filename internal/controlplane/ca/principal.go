// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"tulle.dev/tulle/internal/names"
)

// Principal is a proxy as its certificate names it. The zero value is nobody.
type Principal struct {
	Namespace, ServiceAccount string
	Pod, PodUID               string
	// Kind is names.KindSidecar, names.KindGateway or names.KindClient.
	Kind string
}

// SPIFFE is the principal's identity in a trust domain.
func (p Principal) SPIFFE(trustDomain string) names.SPIFFE {
	return names.SPIFFE{TrustDomain: trustDomain, Namespace: p.Namespace, ServiceAccount: p.ServiceAccount}
}

// subject is the part of a leaf's name that tells the ADS server which pod it talks to (protocol/sign.go).
func (p Principal) subject() pkix.Name {
	return pkix.Name{CommonName: p.Pod, SerialNumber: p.PodUID, OrganizationalUnit: []string{p.Kind}}
}

// uri is the one subject alternative name of a leaf.
func (p Principal) uri(trustDomain string) *url.URL {
	return &url.URL{
		Scheme: "spiffe", Host: trustDomain,
		Path: "/ns/" + p.Namespace + "/sa/" + p.ServiceAccount,
	}
}

// PrincipalFromCert reads a workload certificate. The caller must have verified its chain; this
// refuses what the signer never writes: another trust domain, more than one name, a CA, no pod.
func PrincipalFromCert(cert *x509.Certificate, trustDomain string) (Principal, error) {
	if cert == nil {
		return Principal{}, errors.New("no certificate")
	}
	if cert.IsCA {
		return Principal{}, errors.New("a CA certificate names no workload")
	}
	if len(cert.URIs) != 1 || len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.EmailAddresses) != 0 {
		return Principal{}, errors.New("a workload certificate has one SPIFFE URI and no other name")
	}
	id, err := names.ParseSPIFFE(cert.URIs[0].String())
	if err != nil {
		return Principal{}, fmt.Errorf("read identity: %w", err)
	}
	if strings.ContainsAny(id.Namespace+id.ServiceAccount, "?#%@:") {
		return Principal{}, fmt.Errorf("%s is not an identity of this mesh", id)
	}
	if id.TrustDomain != trustDomain {
		return Principal{}, fmt.Errorf("%s is not of trust domain %s", id, trustDomain)
	}
	s := cert.Subject
	if s.CommonName == "" || s.SerialNumber == "" || len(s.OrganizationalUnit) != 1 {
		return Principal{}, fmt.Errorf("the certificate of %s does not name its pod", id)
	}
	kind := s.OrganizationalUnit[0]
	if !certified(kind) {
		return Principal{}, fmt.Errorf("the certificate of %s names the unknown proxy kind %q", id, kind)
	}
	return Principal{
		Namespace: id.Namespace, ServiceAccount: id.ServiceAccount,
		Pod: s.CommonName, PodUID: s.SerialNumber, Kind: kind,
	}, nil
}
