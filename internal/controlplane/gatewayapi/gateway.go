// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// gatewayOf returns a Gateway of one of our classes.
func gatewayOf(l Lookup, key model.Key) (*gwapiv1.Gateway, bool) {
	gw, ok := l.Gateway(key)
	if !ok || !l.OurClass(string(gw.Spec.GatewayClassName)) {
		return nil, false
	}
	return gw, true
}

// refusal is why a Gateway as a whole is not accepted, whatever its listeners.
func refusal(gw *gwapiv1.Gateway) *problem {
	for i, a := range gw.Spec.Addresses {
		if t := or(a.Type, gwapiv1.IPAddressType); t != gwapiv1.IPAddressType && t != gwapiv1.HostnameAddressType {
			return &problem{string(gwapiv1.GatewayReasonUnsupportedAddress), fmt.Sprintf("spec.addresses[%d].type: %s is not supported, only IPAddress and Hostname", i, t)}
		}
	}
	if i := gw.Spec.Infrastructure; i != nil && i.ParametersRef != nil {
		return &problem{string(gwapiv1.GatewayReasonInvalidParameters), fmt.Sprintf("spec.infrastructure.parametersRef: %s/%s is not supported", i.ParametersRef.Group, i.ParametersRef.Kind)}
	}
	return nil
}

// usableOn are the listeners of a port that can be given to proxies; port 0 is any.
func usableOn(gw *gwapiv1.Gateway, port uint16) []listener {
	if refusal(gw) != nil {
		return nil
	}
	return slices.DeleteFunc(listenersOf(gw), func(li listener) bool { return !li.usable() || port != 0 && li.port != port })
}

// GatewayPortNumbers are the ports of a Gateway of ours that GatewayPort knows, ascending. It reads
// the Gateway and its class only: a port whose certificates are all missing is among them.
func GatewayPortNumbers(l Lookup, gateway model.Key) []uint16 {
	gw, ok := gatewayOf(l, gateway)
	if !ok {
		return nil
	}
	var out []uint16
	for _, li := range usableOn(gw, 0) {
		out = append(out, li.port)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// GatewayPort is one port of a Gateway; ok is false where nothing can be served on it. It reads no
// routes. A plain port has one section without a name, a TLS port one for each listener.
func GatewayPort(l Lookup, gateway model.Key, port uint16) (p model.GatewayPort, ok bool) {
	gw, ok := gatewayOf(l, gateway)
	if !ok || port == 0 {
		return p, false
	}
	p = model.GatewayPort{Gateway: gateway, Port: port}
	for _, li := range usableOn(gw, port) {
		if !li.tls {
			p.Sections = []model.GatewaySection{{Table: li.table(gw)}}
			continue
		}
		p.TLS = true
		certs, _ := certificates(l, gw, &li)
		clients, _, asked := clientValidation(l, gw, &li)
		if len(certs) > 0 && (clients != nil || !asked) {
			p.Sections = append(p.Sections, model.GatewaySection{Name: li.name, Hostname: li.hostname, Certificates: certs, Clients: clients, Table: li.table(gw)})
		}
	}
	return p, len(p.Sections) > 0
}

// certificates are the usable Secrets of an HTTPS listener, in order, and what is wrong with the others.
func certificates(l Lookup, gw *gwapiv1.Gateway, li *listener) (good []model.Key, bad []problem) {
	if !li.tls {
		return nil, nil
	}
	invalid := func(field, format string, args ...any) {
		bad = append(bad, problem{string(gwapiv1.ListenerReasonInvalidCertificateRef), field + ": " + fmt.Sprintf(format, args...)})
	}
	if li.spec.TLS == nil || len(li.spec.TLS.CertificateRefs) == 0 {
		invalid(li.field+".tls.certificateRefs", "needs a Secret of type kubernetes.io/tls")
		return nil, bad
	}
	for i, ref := range li.spec.TLS.CertificateRefs {
		field := fmt.Sprintf("%s.tls.certificateRefs[%d]", li.field, i)
		if or(ref.Group, "") != "" || or(ref.Kind, "Secret") != "Secret" {
			invalid(field, "%s/%s is not supported, only Secret of the core group", or(ref.Group, ""), or(ref.Kind, "Secret"))
			continue
		}
		key := model.Key{Namespace: string(or(ref.Namespace, gwapiv1.Namespace(gw.Namespace))), Name: string(ref.Name)}
		if key.Namespace != gw.Namespace && !granted(l, grantee{KindGateway, gw.Namespace}, "Secret", key) {
			bad = append(bad, problem{
				string(gwapiv1.ListenerReasonRefNotPermitted),
				fmt.Sprintf("%s: no ReferenceGrant in namespace %s lets objects of kind Gateway in namespace %s refer to Secret %s", field, key.Namespace, gw.Namespace, key.Name),
			})
			continue
		}
		switch problem, found := l.TLSSecret(key); {
		case !found:
			invalid(field, "there is no Secret %s of type kubernetes.io/tls", key)
		case problem != "":
			invalid(field, "Secret %s: %s", key, problem)
		default:
			good = append(good, key)
		}
	}
	return good, bad
}

// GatewayTable is one table of a Gateway: section is the GatewaySection's Name, empty on a plain port.
func GatewayTable(l Lookup, gateway model.Key, port uint16, section string) (t model.RouteTable, ok bool) {
	gw, ok := gatewayOf(l, gateway)
	if !ok || port == 0 {
		return t, false
	}
	all := usableOn(gw, port)
	own := all
	if i := slices.IndexFunc(all, func(li listener) bool { return li.tls && li.name == section }); i >= 0 {
		own = all[i : i+1]
	} else if section != "" || len(all) == 0 || all[0].tls {
		return t, false
	}
	t.Name = own[0].table(gw)
	s := site{l: l, port: port}
	if _, ok := ClientCertificate(l, gateway); ok {
		s.certificate = gateway
	}
	t.Hosts = s.hosts(gw, own, all)
	return t, true
}

// hosts makes the virtual hosts of a table: those of the listeners in own, which are some or all of
// the listeners of a port. A request belongs to the listener with the most specific host name that
// fits, and sees the routes of no other (GatewaySpec.listeners, "Listener Isolation"); of the routes
// there, those with the most specific host name decide alone.
func (s site) hosts(gw *gwapiv1.Gateway, own, all []listener) []model.VirtualHost {
	on := map[string][]*route{}
	attached := attachmentsOf(s.l, gw)
	for i := range own {
		for _, a := range attached.on(&own[i]) {
			for _, h := range a.hosts {
				if owner(all, h) == own[i].name {
					on[h] = append(on[h], a.route)
				}
			}
		}
	}
	// Without a virtual host of its own a listener's name would fall to a broader one.
	for i := range all {
		h := all[i].hostname
		if _, has := on[h]; !has && slices.ContainsFunc(own, func(li listener) bool { return covers(li.hostname, h) }) {
			on[h] = nil
		}
	}
	domains := make([]string, 0, len(on))
	for h := range on {
		domains = append(domains, h)
	}
	slices.SortFunc(domains, narrower)
	return s.group(domains, on)
}

// owner is the name of the listener to which a host name belongs.
func owner(all []listener, host string) string {
	best := -1
	for i := range all {
		if covers(all[i].hostname, host) && (best < 0 || narrower(all[i].hostname, all[best].hostname) < 0) {
			best = i
		}
	}
	if best < 0 {
		return ""
	}
	return all[best].name
}

// group makes one virtual host of all domains with the same routes.
func (s site) group(domains []string, on map[string][]*route) []model.VirtualHost {
	var out []model.VirtualHost
	at := map[string]int{}
	for _, d := range domains {
		routes := on[d]
		slices.SortFunc(routes, older)
		key := ""
		for _, r := range routes {
			key += r.source.Kind + "/" + r.source.Namespace + "/" + r.source.Name + "\n"
		}
		spelled := d
		if d == "" {
			spelled = "*"
		}
		if i, ok := at[key]; ok {
			out[i].Domains = append(out[i].Domains, spelled)
			continue
		}
		at[key] = len(out)
		out = append(out, model.VirtualHost{Domains: []string{spelled}, Rules: ordered(routes, s.build)})
	}
	return out
}

// GatewayStatus is the verdict on a Gateway; ok is false where it is not ours.
func GatewayStatus(l Lookup, gateway model.Key) (v GatewayVerdict, ok bool) {
	gw, ok := gatewayOf(l, gateway)
	if !ok {
		return v, false
	}
	refused, attached := refusal(gw), attachmentsOf(l, gw)
	var bad, unresolved []string
	good := 0
	overlaps := overlapping(listenersOf(gw))
	for i, li := range listenersOf(gw) {
		certs, problems := certificates(l, gw, &li)
		clients, badClients, asked := clientValidation(l, gw, &li)
		problems = append(problems, badClients...)
		if asked && clients == nil && li.accepted.ok {
			li.accepted = noAuthority()
		}
		if len(li.badKinds) > 0 {
			problems = append(problems, problem{string(gwapiv1.ListenerReasonInvalidRouteKinds), li.field + ".allowedRoutes.kinds: " + list(li.badKinds) + " is not supported, only HTTPRoute and GRPCRoute"})
		}
		if len(problems) > 0 {
			unresolved = append(unresolved, li.name)
		}
		if li.accepted.ok && !li.conflict.ok {
			good++
		} else {
			bad = append(bad, li.name)
		}
		if refused == nil && li.usable() && (!li.tls || len(certs) > 0) {
			v.Serving = append(v.Serving, li.name)
		}
		st := li.status(gw, attached, problems, ended(l, certs))
		if overlaps[i] != nil {
			st.Conditions = append(st.Conditions, overlaps[i].condition(string(gwapiv1.ListenerConditionOverlappingTLSConfig), gw.Generation))
		}
		v.Listeners = append(v.Listeners, st)
	}
	accepted := finding{true, string(gwapiv1.GatewayReasonAccepted), "The Gateway is accepted" + unheeded(gw)}
	switch {
	case refused != nil:
		accepted = finding{false, refused.reason, refused.text}
	case len(bad) > 0:
		accepted = finding{good > 0, string(gwapiv1.GatewayReasonListenersNotValid), "Listeners that are not valid: " + list(bad) + "; see their conditions"}
	}
	v.Conditions = []metav1.Condition{
		accepted.condition(string(gwapiv1.GatewayConditionAccepted), gw.Generation),
		gatewayRefs(l, gw, unresolved).condition(string(gwapiv1.GatewayConditionResolvedRefs), gw.Generation),
	}
	if field, insecure := insecureClients(gw); insecure {
		f := finding{true, string(gwapiv1.GatewayReasonConfigurationChanged), field + ": clients are served whether or not they show a good certificate; only the backends can refuse them"}
		v.Conditions = append(v.Conditions, f.condition(string(gwapiv1.GatewayConditionInsecureFrontendValidationMode), gw.Generation))
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
		}
	}
	return out
}

// unheeded tells of fields that have no effect and harm nothing.
func unheeded(gw *gwapiv1.Gateway) string {
	out := ""
	if gw.Spec.AllowedListeners != nil && gw.Spec.AllowedListeners.Namespaces != nil && or(gw.Spec.AllowedListeners.Namespaces.From, gwapiv1.NamespacesFromNone) != gwapiv1.NamespacesFromNone {
		out += "; spec.allowedListeners has no effect, since ListenerSet is not supported"
	}
	if gw.Spec.DefaultScope != "" && gw.Spec.DefaultScope != gwapiv1.GatewayDefaultScopeNone {
		out += "; spec.defaultScope has no effect, since default Gateways are not supported"
	}
	return out
}

func gatewayRefs(l Lookup, gw *gwapiv1.Gateway, unresolved []string) finding {
	if _, why := clientCertificate(l, gw); why != nil {
		return finding{false, why.reason, why.text}
	}
	if len(unresolved) > 0 {
		return finding{false, string(gwapiv1.GatewayReasonListenersNotResolved), "Listeners with references that are not resolved: " + list(unresolved) + "; see their conditions"}
	}
	return finding{true, string(gwapiv1.GatewayReasonResolvedRefs), "All references are resolved"}
}

// status is the listener's status. AttachedRoutes counts accepted routes, whether the listener itself is or not.
func (li *listener) status(gw *gwapiv1.Gateway, attached *attachments, problems []problem, remark string) gwapiv1.ListenerStatus {
	st := gwapiv1.ListenerStatus{Name: li.spec.Name, SupportedKinds: []gwapiv1.RouteGroupKind{}, AttachedRoutes: int32(len(attached.on(li)))}
	for _, k := range li.kinds {
		group := gwapiv1.Group(gwapiv1.GroupName)
		st.SupportedKinds = append(st.SupportedKinds, gwapiv1.RouteGroupKind{Group: &group, Kind: gwapiv1.Kind(k)})
	}
	resolved := finding{true, string(gwapiv1.ListenerReasonResolvedRefs), "All references are resolved" + remark}
	if len(problems) > 0 {
		resolved = finding{false, problems[0].reason, tell(problems)}
	}
	accepted := li.accepted
	if accepted.ok && li.conflict.ok {
		accepted = finding{false, li.conflict.reason, li.conflict.message}
	}
	st.Conditions = []metav1.Condition{
		accepted.condition(string(gwapiv1.ListenerConditionAccepted), gw.Generation),
		resolved.condition(string(gwapiv1.ListenerConditionResolvedRefs), gw.Generation),
		li.conflict.condition(string(gwapiv1.ListenerConditionConflicted), gw.Generation),
	}
	return st
}
