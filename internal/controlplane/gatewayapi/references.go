// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// References are the Secrets and ConfigMaps that an object refers to and that it may refer to: those of its
// own namespace, and those that a ReferenceGrant allows; and the ClusterTrustBundles, whose keys have no
// namespace. The lists are sorted, each name once. Whether the objects exist and are usable is not looked at.
//
// They are all that Lookup.TLSSecret and Lookup.CABundle are ever asked for on behalf of the object, so a
// control plane need not read others.
type References struct{ Secrets, ConfigMaps, TrustBundles []model.Key }

// GatewayReferences are the references of a Gateway, of whatever class.
func GatewayReferences(l Granter, gw *gwapiv1.Gateway) References {
	var out References
	from := grantee{KindGateway, gw.Namespace}
	for i := range gw.Spec.Listeners {
		out.certificates(l, from, &gw.Spec.Listeners[i])
	}
	if gw.Spec.TLS == nil {
		return out.tidy()
	}
	if b := gw.Spec.TLS.Backend; b != nil && b.ClientCertificateRef != nil {
		out.secret(l, from, *b.ClientCertificateRef)
	}
	if f := gw.Spec.TLS.Frontend; f != nil {
		validations := []*gwapiv1.FrontendTLSValidation{f.Default.Validation}
		for _, p := range f.PerPort {
			validations = append(validations, p.TLS.Validation)
		}
		for _, v := range validations {
			if v == nil {
				continue
			}
			for _, ref := range v.CACertificateRefs {
				if isTrustBundle(ref.Group, ref.Kind) && ref.Namespace == nil {
					out.TrustBundles = append(out.TrustBundles, model.Key{Name: string(ref.Name)})
				}
				at := model.Key{Namespace: string(or(ref.Namespace, gwapiv1.Namespace(gw.Namespace))), Name: string(ref.Name)}
				if IsCore(ref.Group) && ref.Kind == kindConfigMap && mayRefer(l, from, kindConfigMap, at) {
					out.ConfigMaps = append(out.ConfigMaps, at)
				}
			}
		}
	}
	return out.tidy()
}

// ListenerSetReferences are the references of a ListenerSet, whether its Gateway lets it attach or not.
func ListenerSetReferences(l Granter, set *gwapiv1.ListenerSet) References {
	var out References
	for i := range set.Spec.Listeners {
		spec := gwapiv1.Listener(set.Spec.Listeners[i])
		out.certificates(l, grantee{KindListenerSet, set.Namespace}, &spec)
	}
	return out.tidy()
}

// CAReferences are those of references to authorities, in the namespace of the object that has them.
func CAReferences(refs []CARef) References {
	var out References
	for _, a := range refs {
		if IsCore(gwapiv1.Group(a.Group)) && a.Kind == kindConfigMap {
			out.ConfigMaps = append(out.ConfigMaps, a.At)
		}
		if a.ofTrustBundle() {
			out.TrustBundles = append(out.TrustBundles, a.At)
		}
	}
	return out.tidy()
}

func (r *References) certificates(l Granter, from grantee, spec *gwapiv1.Listener) {
	li := listener{spec: spec}
	if li.readProtocol(); !li.terminates() || spec.TLS == nil {
		return
	}
	for _, ref := range spec.TLS.CertificateRefs {
		r.secret(l, from, ref)
	}
}

func (r *References) secret(l Granter, from grantee, ref gwapiv1.SecretObjectReference) {
	if at, ok := secretOf(from, ref); ok && mayRefer(l, from, kindSecret, at) {
		r.Secrets = append(r.Secrets, at)
	}
}

func (r References) tidy() References {
	for _, l := range []*[]model.Key{&r.Secrets, &r.ConfigMaps, &r.TrustBundles} {
		slices.SortFunc(*l, func(a, b model.Key) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
		*l = slices.Compact(*l)
	}
	return r
}

// kindSecret is the kind that holds a certificate and its key.
const kindSecret = "Secret"

// secretOf is the Secret that a reference names; ok is false for another kind.
func secretOf(from grantee, ref gwapiv1.SecretObjectReference) (at model.Key, ok bool) {
	at = model.Key{Namespace: string(or(ref.Namespace, gwapiv1.Namespace(from.namespace))), Name: string(ref.Name)}
	return at, or(ref.Group, "") == "" && or(ref.Kind, kindSecret) == kindSecret
}

// mayRefer tells whether a reference stays in its namespace or is granted.
func mayRefer(l Granter, from grantee, kind string, to model.Key) bool {
	return to.Namespace == from.namespace || granted(l, from, kind, to)
}
