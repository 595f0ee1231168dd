// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// ClientCertificate is the Secret with the certificate that a Gateway of ours shows to backends with
// which it speaks TLS (GEP-3155); false where it has none that can be used.
func ClientCertificate(l Lookup, gateway model.Key) (secret model.Key, ok bool) {
	gw, ok := gatewayOf(l, gateway)
	if !ok {
		return model.Key{}, false
	}
	secret, why := clientCertificate(l, gw)
	return secret, why == nil && secret != (model.Key{})
}

// clientCertificate is the Secret of spec.tls.backend.clientCertificateRef, or why it can't be used. A
// Gateway without it, or with a bad one, shows none: that opens nothing, since it is for the backend
// to refuse those that don't.
func clientCertificate(l Lookup, gw *gwapiv1.Gateway) (model.Key, *Problem) {
	const field = "spec.tls.backend.clientCertificateRef"
	if gw.Spec.TLS == nil || gw.Spec.TLS.Backend == nil || gw.Spec.TLS.Backend.ClientCertificateRef == nil {
		return model.Key{}, nil
	}
	ref := gw.Spec.TLS.Backend.ClientCertificateRef
	invalid := func(format string, args ...any) (model.Key, *Problem) {
		return model.Key{}, &Problem{string(gwapiv1.GatewayReasonInvalidClientCertificateRef), field + ": " + fmt.Sprintf(format, args...)}
	}
	from := grantee{KindGateway, gw.Namespace}
	key, supported := secretOf(from, *ref)
	if !supported {
		return invalid("%s is not supported, only Secret of the core group", kindText(or(ref.Group, ""), or(ref.Kind, kindSecret)))
	}
	if !mayRefer(l, from, kindSecret, key) {
		return model.Key{}, &Problem{
			string(gwapiv1.GatewayReasonRefNotPermitted),
			fmt.Sprintf("%s: no ReferenceGrant in namespace %s lets objects of kind Gateway in namespace %s refer to Secret %s", field, key.Namespace, gw.Namespace, key.Name),
		}
	}
	switch why, found := l.TLSSecret(key); {
	case !found:
		return invalid("there is no Secret %s of type kubernetes.io/tls", key)
	case why != "":
		return invalid("Secret %s: %s", key, why)
	}
	return key, nil
}
