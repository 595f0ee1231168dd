// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"slices"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/controlplane/source"
)

// TestCertificates compares what the control plane says about certificates with what the real Envoy does: it refuses
// nothing of what is accepted, neither as a Secret for TLS nor as authorities.
func TestCertificates(t *testing.T) {
	usual := []string{
		"P-256", "P-384", "P-521", "Ed25519", "RSA 2048", "RSA 3072", "P-256, key usage none", "RSA 2048, key usage keyEncipherment", "RSA-PSS signature",
		"client's extended key usage", "no extended key usage", "no subject", "address alone", "URI alone", "address", "expired", "version 1", "times",
		"SEC 1", "SEC 1 after parameters", "PKCS 1", "text before", "lines of Windows", "a key in tls.crt, after", "no newline at the end",
	}
	var accepted []servedCase
	for name, c := range certificateCases(t) {
		one := servedCase{name: name}
		tls := source.TLSSecretFrom(&corev1.Secret{Data: map[string][]byte{"tls.crt": []byte(c.chain), "tls.key": []byte(c.key)}})
		if tls.Problem == "" {
			one.served = served{tls.Certificate, string(tls.PrivateKey)}
		}
		bundle, _ := source.CABundleFrom(&corev1.ConfigMap{Data: map[string]string{source.CAKey: c.chain}})
		one.authorities = bundle.Certificates()
		if slices.Contains(usual, name) && tls.Problem != "" {
			t.Errorf("%s: refused: %s", name, tls.Problem)
		}
		accepted = append(accepted, one)
	}
	for which, bin := range map[string]string{"current": binary(t), "before": before(t)} {
		t.Run(which, func(t *testing.T) { refusals(t, bin, accepted) })
	}
}

type servedCase struct {
	served
	name, authorities string
}

// refusals fails for each of the cases that Envoy refuses: it is asked about all at once, and about halves if it
// refuses that.
func refusals(t *testing.T, bin string, cases []servedCase) {
	t.Helper()
	out, err := validate(t, bin, tlsListeners(t, cases))
	switch {
	case err == nil:
	case len(cases) == 1:
		_, why, _ := strings.Cut(out, "envoy.json': ")
		t.Errorf("%s: accepted, and Envoy refuses it: %v %s", cases[0].name, err, why)
	default:
		refusals(t, bin, cases[:len(cases)/2])
		refusals(t, bin, cases[len(cases)/2:])
	}
}

// tlsListeners is a bootstrap with listeners that serve certificates, and such that trust authorities.
func tlsListeners(t *testing.T, cases []servedCase) []byte {
	t.Helper()
	ours := newAuthority(t).leaf(t, "", "www.example.com")
	var listeners []*listenerv3.Listener
	add := func(name string, common *tlsv3.CommonTlsContext) {
		socket, err := anypb.New(&tlsv3.DownstreamTlsContext{CommonTlsContext: common})
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, &listenerv3.Listener{
			Name:         name,
			Address:      &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(len(listeners) + 1)}}}},
			FilterChains: []*listenerv3.FilterChain{{TransportSocket: &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: socket}}}},
		})
	}
	for _, c := range cases {
		if c.chain != "" {
			add(c.name, &tlsv3.CommonTlsContext{TlsCertificates: []*tlsv3.TlsCertificate{{CertificateChain: text(c.chain), PrivateKey: text(c.key)}}})
		}
		if c.authorities != "" {
			add("authorities: "+c.name, &tlsv3.CommonTlsContext{
				TlsCertificates: []*tlsv3.TlsCertificate{{CertificateChain: text(ours.chain), PrivateKey: text(ours.key)}},
				ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{
					ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: text(c.authorities)},
				},
			})
		}
	}
	out, err := protojson.Marshal(&bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{Listeners: listeners}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
