// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/gatewayspec"
)

// gatewayOf returns a Gateway of one of our classes.
func gatewayOf(l Lookup, key model.Key) (*gwapiv1.Gateway, bool) {
	gw, ok := l.Gateway(key)
	if !ok || !l.OurClass(string(gw.Spec.GatewayClassName)) {
		return nil, false
	}
	return gw, true
}

// refusal is why a Gateway as a whole is not accepted, whatever its listeners. The operator decides by the
// same function whether to deploy it.
func refusal(gw *gwapiv1.Gateway) *Problem {
	if r := gatewayspec.Refuse(gw); r != nil {
		return &Problem{string(r.Reason), r.Message}
	}
	return nil
}

// usableOn are the listeners of a TCP port that can be given to proxies; port 0 is any.
func usableOn(l Lookup, gw *gwapiv1.Gateway, port uint16) []listener {
	if refusal(gw) != nil {
		return nil
	}
	return slices.DeleteFunc(listenersOf(l, gw), func(li listener) bool { return !li.usableOn(port) })
}

// usableOn tells whether proxies can be given the listener on a TCP port; port 0 is any.
func (li *listener) usableOn(port uint16) bool {
	return li.usable() && !li.udp && (port == 0 || li.port == port)
}

// GatewayPortNumbers are the TCP ports of a Gateway of ours that GatewayPort knows, ascending. It reads
// the Gateway and its class only: a port whose certificates are all missing is among them.
func GatewayPortNumbers(l Lookup, gateway model.Key) []uint16 {
	gw, ok := gatewayOf(l, gateway)
	if !ok {
		return nil
	}
	return portsOf(usableOn(l, gw, 0))
}

func portsOf(ls []listener) []uint16 {
	var out []uint16
	for _, li := range ls {
		out = append(out, li.port)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// GatewayPort is one TCP port of a Gateway; ok is false where nothing can be served on it. It reads no
// routes, so that sections of bytes have no streams: GatewayStreams has them. A plain port has one
// section without a name, a TLS port one for each listener.
func GatewayPort(l Lookup, gateway model.Key, port uint16) (p model.GatewayPort, ok bool) {
	gw, ok := gatewayOf(l, gateway)
	if !ok || port == 0 {
		return p, false
	}
	p = model.GatewayPort{Gateway: gateway, Port: port, ProxyProtocol: proxyProtocol(gw)}
	for _, li := range usableOn(l, gw, port) {
		switch {
		case !li.tls && !li.bytes:
			p.Sections = []model.GatewaySection{{Table: li.table(gw)}}
			continue
		case !li.tls:
			p.Sections = []model.GatewaySection{li.section(gw, nil)}
			continue
		}
		p.TLS = true
		if li.serves(l, gw) {
			certs, _ := certificates(l, &li)
			s := li.section(gw, certs)
			s.Clients, _, _ = clientValidation(l, gw, &li)
			p.Sections = append(p.Sections, s)
		}
	}
	if slices.ContainsFunc(p.Sections, func(s model.GatewaySection) bool { return !s.Bytes }) {
		p.ClientSettings = clientSettings(gw)
	}
	return p, len(p.Sections) > 0
}

// section is a listener that has a section of its own.
func (li *listener) section(gw *gwapiv1.Gateway, certs []model.Key) model.GatewaySection {
	return model.GatewaySection{
		Name: li.id, Hostname: li.hostname, Certificates: certs, Table: li.table(gw), Bytes: li.bytes, Passthrough: li.passthrough,
	}
}

// certificates are the usable Secrets of a listener that ends TLS, in order, and what is wrong with the others.
func certificates(l Lookup, li *listener) (good []model.Key, bad []Problem) {
	if !li.terminates() {
		return nil, nil
	}
	invalid := func(field, format string, args ...any) {
		bad = append(bad, Problem{string(gwapiv1.ListenerReasonInvalidCertificateRef), field + ": " + fmt.Sprintf(format, args...)})
	}
	if li.spec.TLS == nil || len(li.spec.TLS.CertificateRefs) == 0 {
		invalid(li.field+".tls.certificateRefs", "needs a Secret of type kubernetes.io/tls")
		return nil, bad
	}
	for i, ref := range li.spec.TLS.CertificateRefs {
		field := fmt.Sprintf("%s.tls.certificateRefs[%d]", li.field, i)
		from := grantee{li.of.Kind, li.of.Namespace}
		key, supported := secretOf(from, ref)
		if !supported {
			invalid(field, "%s is not supported, only Secret of the core group", kindText(or(ref.Group, ""), or(ref.Kind, kindSecret)))
			continue
		}
		if !mayRefer(l, from, kindSecret, key) {
			bad = append(bad, Problem{
				string(gwapiv1.ListenerReasonRefNotPermitted),
				fmt.Sprintf("%s: no ReferenceGrant in namespace %s lets objects of kind %s in namespace %s refer to Secret %s", field, key.Namespace, li.of.Kind, li.of.Namespace, key.Name),
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

// GatewayTable is one table of rules of a Gateway, as far as its listeners tell: section is the
// GatewaySection's Name, empty on a plain port. It reads no routes; their parts are RouteParts.
func GatewayTable(l Lookup, gateway model.Key, port uint16, section string) (t model.GatewayTable, ok bool) {
	gw, ok := gatewayOf(l, gateway)
	if !ok || port == 0 || refusal(gw) != nil {
		return t, false
	}
	var all []*listener // a copy for each table would be the square of them
	list := l.Listeners(gateway).list
	for i := range list {
		if list[i].usableOn(port) {
			all = append(all, &list[i])
		}
	}
	own := all
	if i := slices.IndexFunc(all, func(li *listener) bool { return li.tls && !li.bytes && li.id == section }); i >= 0 {
		own = all[i : i+1]
	} else if section != "" || len(all) == 0 || all[0].tls || all[0].bytes {
		return t, false
	}
	t.Name = own[0].table(gw)
	for _, li := range own {
		t.Listeners = append(t.Listeners, li.hostname)
	}
	t.Misdirected = slices.Grow(t.Misdirected, len(all)-len(own))
	for _, li := range all {
		if li.spec.Protocol == gwapiv1.HTTPSProtocolType && !slices.ContainsFunc(own, func(o *listener) bool { return o.id == li.id }) {
			t.Misdirected = append(t.Misdirected, li.hostname)
		}
	}
	return t, true
}
