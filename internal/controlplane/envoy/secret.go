// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// nobody is a URI that no certificate of the mesh carries. Envoy takes an empty list of names for
// "any", so a Service behind which there is no identity accepts this one.
const nobody = "tulle:nobody"

// PeerSecret makes the Secret with which clients of a Service check it (secure naming): exactly the
// identities behind it, and nobody if there are none.
func PeerSecret(p model.Peers) Resource {
	ids := p.Identities
	if len(ids) == 0 {
		ids = []string{nobody}
	}
	m := make([]*matcherv3.StringMatcher, 0, len(ids))
	for _, id := range ids {
		m = append(m, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: id}})
	}
	return validation(names.SAN(p.Service.Namespace, p.Service.Name), p.Roots, m)
}

// TrustSecret makes the Secret with which servers check their clients: what chains must end in, as PEM, and
// any SPIFFE id of the trust domain.
func TrustSecret(anchors, trustDomain string) Resource {
	return validation(names.Trust, anchors, []*matcherv3.StringMatcher{{
		MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "spiffe://" + trustDomain + "/"},
	}})
}

// validation makes a Secret with anchors, as PEM: the mesh's intermediates, or its roots where those are not
// required yet. Envoy accepts a chain that ends in an intermediate (X509_V_FLAG_PARTIAL_CHAIN), unless
// max_verify_depth is set, which must not be.
func validation(name, anchors string, uris []*matcherv3.StringMatcher) Resource {
	v := &tlsv3.CertificateValidationContext{TrustedCa: inline(anchors)}
	for _, m := range uris {
		v.MatchTypedSubjectAltNames = append(v.MatchTypedSubjectAltNames, &tlsv3.SubjectAltNameMatcher{
			SanType: tlsv3.SubjectAltNameMatcher_URI,
			Matcher: m,
		})
	}
	return secret(&tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{ValidationContext: v}})
}

// TLSSecret makes the Secret with a certificate of one of a Gateway's listeners. Its body holds the
// private key: it must not be printed.
func TLSSecret(gateway model.Key, s model.TLSSecret) Resource {
	return secret(&tlsv3.Secret{
		Name: names.GatewayTLS(gateway.Namespace, gateway.Name, s.Namespace, s.Name),
		Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			// Bytes, because a user's Secret may hold anything.
			CertificateChain: &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte(s.Certificate)}},
			PrivateKey:       &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte(s.PrivateKey)}},
		}},
	})
}

func inline(s string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: s}}
}
