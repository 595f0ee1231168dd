// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// meshTLS13 fixes TLS 1.3 between proxies. Both ends are needed: an upstream context's default
// maximum is 1.2, and a minimum above it fails every handshake.
func meshTLS13() *tlsv3.TlsParameters {
	return &tlsv3.TlsParameters{
		TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
	}
}

// toPeer is how a client's proxy reaches the pods of a Service: with its own identity, accepting
// only the identities behind that Service.
func toPeer(k model.PortKey, alpn ...string) *corev3.TransportSocket {
	return toServer(names.SNIOf(k.Service.Namespace, k.Service.Name, k.Port), names.SAN(k.Service.Namespace, k.Service.Name), alpn)
}

// toAccount is how a client's proxy reaches a pod at the pod's own address: with its own identity,
// accepting only the pod's service account.
func toAccount(account model.Key, alpn ...string) *corev3.TransportSocket {
	return toServer(names.SNIAddress, names.Account(account.Namespace, account.Name), alpn)
}

// toServer is mutual TLS to a server whose identity the named validation context accepts.
func toServer(sni, validation string, alpn []string) *corev3.TransportSocket {
	return tlsSocket(&tlsv3.UpstreamTlsContext{
		Sni: sni,
		// No resumption: a resumed session would skip the check of the peer's identity.
		MaxSessionKeys: wrapperspb.UInt32(0),
		CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsParams:                      meshTLS13(),
			AlpnProtocols:                  alpn,
			TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{sds(names.Identity)},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
				ValidationContextSdsSecretConfig: sds(validation),
			},
		},
	})
}

// fromPeer is how a server's proxy takes connections of the mesh: from any identity of the trust domain.
func fromPeer(alpn ...string) *corev3.TransportSocket {
	return tlsSocket(&tlsv3.DownstreamTlsContext{
		RequireClientCertificate:         wrapperspb.Bool(true),
		SessionTicketKeysType:            &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{DisableStatelessSessionResumption: true},
		DisableStatefulSessionResumption: true,
		CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsParams:                      meshTLS13(),
			AlpnProtocols:                  alpn,
			TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{sds(names.Identity)},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
				ValidationContextSdsSecretConfig: sds(names.Trust),
			},
		},
	})
}

// clients is how a gateway checks certificates of clients: with the named validation context.
type clients struct {
	secret   string
	optional bool
}

// fromWorld is how a gateway takes TLS connections: TLS 1.2 or 1.3 with the listener's certificates.
// Where bytes are passed on there is no ALPN: what they are is not known. check is nil where clients
// need no certificate.
func fromWorld(secrets []string, check *clients, alpn ...string) *corev3.TransportSocket {
	c := &tlsv3.DownstreamTlsContext{
		CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsParams: &tlsv3.TlsParameters{
				TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
				TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			},
			AlpnProtocols: alpn,
		},
	}
	for _, s := range secrets {
		c.CommonTlsContext.TlsCertificateSdsSecretConfigs = append(c.CommonTlsContext.TlsCertificateSdsSecretConfigs, sds(s))
	}
	if check != nil {
		acceptEd25519(c.GetCommonTlsContext().GetTlsParams())
		c.RequireClientCertificate = wrapperspb.Bool(!check.optional)
		c.CommonTlsContext.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
			ValidationContextSdsSecretConfig: sds(check.secret),
		}
		// No resumption: a resumed session would skip the check, also against authorities that were changed meanwhile.
		c.SessionTicketKeysType = &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{DisableStatelessSessionResumption: true}
		c.DisableStatefulSessionResumption = true
	}
	return tlsSocket(c)
}

func sds(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: ads()}
}

func tlsSocket(context proto.Message) *corev3.TransportSocket {
	return socket("envoy.transport_sockets.tls", context)
}

func socket(name string, config proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       name,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: typed(config)},
	}
}
