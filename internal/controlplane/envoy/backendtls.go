// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"regexp"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// maxSNI is the longest server name that Envoy's API takes, in bytes.
const maxSNI = 255

// usable tells whether TLS can be spoken as is said. Without a name Envoy would accept any certificate.
func usable(t *model.BackendTLS) bool {
	return !t.Unusable && t.Hostname != "" && len(t.Hostname) <= maxSNI && len(t.Names) > 0
}

// toBackend is how a proxy reaches endpoints without one that speak TLS themselves (BackendTLSPolicy).
// Without a Gateway's client certificate it shows none: the mesh's identity is nobody else's business.
func toBackend(b model.Backend, alpn string) *corev3.TransportSocket {
	authorities := names.BackendCA(b.Key.Service.Namespace, b.Key.Service.Name, b.Key.Port)
	if b.TLS.System {
		authorities = names.SystemRoots
	}
	c := &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		// The certificates to trust are apart: new ones are no new cluster.
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext:         &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: altNames(b.TLS.Names)},
				ValidationContextSdsSecretConfig: sds(authorities),
			},
		},
	}
	acceptEd25519(c.GetTlsParams())
	if b.Protocol.IsHTTP() {
		c.AlpnProtocols = []string{alpn}
	}
	if s := b.ClientCertificate; s != (model.Key{}) {
		c.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{
			sds(names.GatewayTLS(b.Via.Gateway.Namespace, b.Via.Gateway.Name, s.Namespace, s.Name)),
		}
	}
	return tlsSocket(&tlsv3.UpstreamTlsContext{
		Sni: b.TLS.Hostname,
		// No resumption: a resumed session would skip the check of the certificate.
		MaxSessionKeys:   wrapperspb.UInt32(0),
		CommonTlsContext: c,
	})
}

func altNames(list []model.AltName) []*tlsv3.SubjectAltNameMatcher {
	var out []*tlsv3.SubjectAltNameMatcher
	for _, n := range list {
		m := &tlsv3.SubjectAltNameMatcher{
			SanType: tlsv3.SubjectAltNameMatcher_DNS,
			// For DNS names Envoy takes a wildcard in the certificate for what it stands for.
			Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: n.Value}},
		}
		parent, wild := strings.CutPrefix(n.Value, "*.")
		switch {
		case n.URI:
			m.SanType = tlsv3.SubjectAltNameMatcher_URI
		case wild: // one label, which may itself be the wildcard
			m.Matcher.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: `[^.]+\.` + regexp.QuoteMeta(parent)}}
		}
		out = append(out, m)
	}
	return out
}

// BackendCA makes the Secret with the authorities for the endpoints of a Service port.
func BackendCA(c model.BackendCA) Resource {
	return authorities(names.BackendCA(c.Key.Service.Namespace, c.Key.Service.Name, c.Key.Port), &tlsv3.CertificateValidationContext{}, c.Certificates)
}

// SystemRoots makes the Secret with the authorities that the web trusts, as PEM.
func SystemRoots(certificates string) Resource {
	return authorities(names.SystemRoots, &tlsv3.CertificateValidationContext{}, certificates)
}

// GatewayClients makes the Secret with which the HTTPS listeners of a Gateway's port check clients.
func GatewayClients(c model.GatewayClients) Resource {
	v := &tlsv3.CertificateValidationContext{}
	if c.Optional {
		v.TrustChainVerification = tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED
	}
	return authorities(names.GatewayClients(c.Gateway.Namespace, c.Gateway.Name, c.Port), v, c.Certificates)
}

func authorities(name string, v *tlsv3.CertificateValidationContext, certificates string) Resource {
	v.TrustedCa = inline(certificates)
	return secret(&tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{ValidationContext: v}})
}
