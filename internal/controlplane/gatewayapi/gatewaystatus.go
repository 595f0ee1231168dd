// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/gatewayspec"
)

// GatewayStatus is the verdict on a Gateway; ok is false where it is not ours.
func GatewayStatus(l Lookup, gateway model.Key) (v GatewayVerdict, ok bool) {
	gw, ok := gatewayOf(l, gateway)
	if !ok {
		return v, false
	}
	v.Wanted = gw.Spec.Addresses
	refused := refusal(gw)
	var bad, unresolved []string
	good, sets := 0, map[model.Object]bool{}
	ls := listenersOf(l, gw)
	for _, li := range ls {
		if li.of.Kind != KindGateway {
			// Of ListenerSets, which have a status of their own.
			if refused == nil && li.serves(l, gw) {
				sets[li.of] = true
			}
			continue
		}
		st := li.judge(l, gw)
		if apimeta.IsStatusConditionFalse(st.Conditions, string(gwapiv1.ListenerConditionResolvedRefs)) {
			unresolved = append(unresolved, li.name)
		}
		if li.accepted.OK && !li.conflict.OK {
			good++
		} else {
			bad = append(bad, li.name)
		}
		if refused == nil && li.serves(l, gw) {
			v.Serving = append(v.Serving, li.name)
		}
		v.Listeners = append(v.Listeners, st)
	}
	if listenersFrom(gw) != gwapiv1.NamespacesFromNone {
		n := int32(len(sets)) //nolint:gosec // far fewer
		v.ListenerSets = &n
	}
	accepted := Finding{true, string(gwapiv1.GatewayReasonAccepted), "The Gateway is accepted" + unheeded(gw)}
	switch {
	case refused != nil:
		accepted = Finding{false, refused.Reason, refused.Text}
	case len(bad) > 0:
		accepted = Finding{good > 0, string(gwapiv1.GatewayReasonListenersNotValid), "Listeners that are not valid: " + list(bad) + "; see their conditions"}
	}
	v.Conditions = []metav1.Condition{
		accepted.Condition(string(gwapiv1.GatewayConditionAccepted), gw.Generation),
		gatewayRefs(l, gw, unresolved).Condition(string(gwapiv1.GatewayConditionResolvedRefs), gw.Generation),
	}
	if field, insecure := insecureClients(gw); insecure {
		f := Finding{true, string(gwapiv1.GatewayReasonConfigurationChanged), field + ": clients are served whether or not they show a good certificate; only the backends can refuse them"}
		v.Conditions = append(v.Conditions, f.Condition(string(gwapiv1.GatewayConditionInsecureFrontendValidationMode), gw.Generation))
	}
	return v, true
}

// ended tells of certificates that clients refuse. They are served all the same: so does everybody
// until somebody renews them, and a client that does not look goes on working.
func ended(l Lookup, certs []model.Key) string {
	out := ""
	for _, k := range certs {
		if day, ok := l.Ended(k); ok {
			out += fmt.Sprintf("; the certificate in Secret %s ended on %s, so that clients refuse it: renew it", k, day)
		} else if day, ok := l.IssuerEnded(k); ok {
			out += fmt.Sprintf("; in Secret %s the certificate of an issuer ended on %s, so that clients may refuse the chain: put the issuer's current certificate after the first one in tls.crt", k, day)
		}
	}
	return out
}

// unheeded tells of fields that have no effect and harm nothing.
func unheeded(gw *gwapiv1.Gateway) string {
	out := ""
	if gw.Spec.DefaultScope != "" && gw.Spec.DefaultScope != gwapiv1.GatewayDefaultScopeNone {
		out += "; spec.defaultScope has no effect, since default Gateways are not supported"
	}
	if unknown := gatewayspec.Unknown(gw); len(unknown) > 0 {
		out += "; annotations of spec.infrastructure that have no effect: " + list(unknown) + "; supported are " + strings.Join(gatewayspec.Keys(), ", ")
	}
	return out
}

func gatewayRefs(l Lookup, gw *gwapiv1.Gateway, unresolved []string) Finding {
	if _, why := clientCertificate(l, gw); why != nil {
		return Finding{false, why.Reason, why.Text}
	}
	if len(unresolved) > 0 {
		return Finding{false, string(gwapiv1.GatewayReasonListenersNotResolved), "Listeners with references that are not resolved: " + list(unresolved) + "; see their conditions"}
	}
	return Finding{true, string(gwapiv1.GatewayReasonResolvedRefs), "All references are resolved"}
}

// serves tells whether proxies can be given the listener, as far as it alone is concerned.
func (li *listener) serves(l Lookup, gw *gwapiv1.Gateway) bool {
	certs, _ := certificates(l, li)
	clients, _, asked := clientValidation(l, gw, li)
	return li.usable() && (!li.terminates() || len(certs) > 0) && (clients != nil || !asked)
}

// judge is the status of a listener. It settles whether it is accepted.
func (li *listener) judge(l Lookup, gw *gwapiv1.Gateway) gwapiv1.ListenerStatus {
	certs, problems := certificates(l, li)
	clients, bad, asked := clientValidation(l, gw, li)
	problems = append(problems, bad...)
	if asked && clients == nil && li.accepted.OK {
		li.accepted = noAuthority()
	}
	if len(li.badKinds) > 0 {
		problems = append(problems, Problem{string(gwapiv1.ListenerReasonInvalidRouteKinds), li.field + ".allowedRoutes.kinds: " + list(li.badKinds) + " is not supported, only " + strings.Join(li.fits, " and ")})
	}
	st := li.status(l.Attached(On{keyOf(gw), li.id}), problems, ended(l, certs))
	if li.overlap != nil {
		st.Conditions = append(st.Conditions, li.overlap.Condition(string(gwapiv1.ListenerConditionOverlappingTLSConfig), li.generation))
	}
	return st
}

// status is the listener's status. AttachedRoutes counts accepted routes, whether the listener itself is or not.
func (li *listener) status(attached int, problems []Problem, remark string) gwapiv1.ListenerStatus {
	st := gwapiv1.ListenerStatus{Name: li.spec.Name, SupportedKinds: []gwapiv1.RouteGroupKind{}, AttachedRoutes: int32(attached)} //nolint:gosec // far fewer
	for _, k := range li.kinds {
		group := gwapiv1.Group(gwapiv1.GroupName)
		st.SupportedKinds = append(st.SupportedKinds, gwapiv1.RouteGroupKind{Group: &group, Kind: gwapiv1.Kind(k)})
	}
	resolved := Finding{true, string(gwapiv1.ListenerReasonResolvedRefs), "All references are resolved" + remark}
	if len(problems) > 0 {
		resolved = Finding{false, problems[0].Reason, Tell(problems)}
	}
	accepted := li.accepted
	if accepted.OK && li.conflict.OK {
		accepted = Finding{false, li.conflict.Reason, li.conflict.Message}
	}
	st.Conditions = []metav1.Condition{
		accepted.Condition(string(gwapiv1.ListenerConditionAccepted), li.generation),
		resolved.Condition(string(gwapiv1.ListenerConditionResolvedRefs), li.generation),
		li.conflict.Condition(string(gwapiv1.ListenerConditionConflicted), li.generation),
	}
	return st
}
