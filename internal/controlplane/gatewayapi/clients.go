// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// validationOf is what a Gateway says about the certificates of clients of a port, and the field where
// it does; nil: nothing. What is said of the port replaces the default, even by nothing
// (FrontendTLSConfig.perPort).
func validationOf(gw *gwapiv1.Gateway, port gwapiv1.PortNumber) (v *gwapiv1.FrontendTLSValidation, field string) {
	if gw.Spec.TLS == nil || gw.Spec.TLS.Frontend == nil {
		return nil, ""
	}
	f := gw.Spec.TLS.Frontend
	for i, p := range f.PerPort {
		if p.Port == port {
			return p.TLS.Validation, fmt.Sprintf("spec.tls.frontend.perPort[%d].tls.validation", i)
		}
	}
	return f.Default.Validation, "spec.tls.frontend.default.validation"
}

// clientValidation is what an HTTPS listener asks of its clients' certificates, and what is wrong with
// the references to authorities. asked without a result: none of them can be used, and the listener
// must not be served, since that would open what was to be closed.
func clientValidation(l Lookup, gw *gwapiv1.Gateway, li *listener) (c *model.ClientValidation, bad []Problem, asked bool) {
	if li.spec.Protocol != gwapiv1.HTTPSProtocolType {
		return nil, nil, false
	}
	v, field := validationOf(gw, li.spec.Port)
	if v == nil {
		return nil, nil, false
	}
	c = &model.ClientValidation{Optional: v.Mode == gwapiv1.AllowInsecureFallback}
	for i, ref := range v.CACertificateRefs {
		namespace := string(or(ref.Namespace, gwapiv1.Namespace(gw.Namespace)))
		a := NewCARef(fmt.Sprintf("%s.caCertificateRefs[%d]", field, i), ref.Group, ref.Kind, namespace, ref.Name)
		if a.ofTrustBundle() && ref.Namespace != nil {
			bad = append(bad, Problem{reasonInvalidCA, a.Field + ".namespace: must not be set, because a ClusterTrustBundle is in no namespace; remove it"})
			continue
		}
		if a.Kind == kindConfigMap && !mayRefer(l, grantee{KindGateway, gw.Namespace}, kindConfigMap, a.At) {
			bad = append(bad, Problem{
				string(gwapiv1.ListenerReasonRefNotPermitted),
				fmt.Sprintf("%s: no ReferenceGrant in namespace %s lets objects of kind Gateway in namespace %s refer to ConfigMap %s", a.Field, a.At.Namespace, gw.Namespace, a.At.Name),
			})
			continue
		}
		if why := a.Unusable(l, string(gwapiv1.ListenerReasonInvalidCACertificateKind)); why != nil {
			bad = append(bad, *why)
			continue
		}
		c.Authorities = append(c.Authorities, a.At)
	}
	if len(c.Authorities) == 0 {
		c = nil
	}
	return c, bad, true
}

// noAuthority is the finding on a listener none of whose authorities can be used.
func noAuthority() Finding {
	return Finding{false, string(gwapiv1.ListenerReasonNoValidCACertificate), "No certificate to check clients with can be used; condition ResolvedRefs says why"}
}

// insecureClients tells whether any port of the Gateway serves clients whose certificates are not good
// (GatewayConditionInsecureFrontendValidationMode); the field says where.
func insecureClients(gw *gwapiv1.Gateway) (field string, insecure bool) {
	if gw.Spec.TLS == nil || gw.Spec.TLS.Frontend == nil {
		return "", false
	}
	f := gw.Spec.TLS.Frontend
	is := func(c gwapiv1.TLSConfig) bool {
		return c.Validation != nil && c.Validation.Mode == gwapiv1.AllowInsecureFallback
	}
	if is(f.Default) {
		return "spec.tls.frontend.default", true
	}
	for i, p := range f.PerPort {
		if is(p.TLS) {
			return fmt.Sprintf("spec.tls.frontend.perPort[%d]", i), true
		}
	}
	return "", false
}
