// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// listener is a listener of a Gateway, judged by the Gateway alone.
type listener struct {
	spec     *gwapiv1.Listener
	field    string // "spec.listeners[0]"
	name     string
	hostname string // "" is any
	port     uint16
	tls      bool
	// kinds are those of our routes that may attach; badKinds are named in allowedRoutes but not ours.
	kinds    []string
	badKinds []string
	selector labels.Selector // for allowedRoutes.namespaces.from Selector
	accepted finding
	conflict finding // ok: there is a conflict
}

// usable listeners can be given to proxies, as far as the Gateway alone tells.
func (li *listener) usable() bool {
	return li.accepted.ok && !li.conflict.ok && len(li.kinds) > 0
}

// listenersOf reads the listeners of a Gateway, in the order of the spec.
func listenersOf(gw *gwapiv1.Gateway) []listener {
	ls := make([]listener, 0, len(gw.Spec.Listeners))
	for i := range gw.Spec.Listeners {
		ls = append(ls, readListener(gw, fmt.Sprintf("spec.listeners[%d]", i), &gw.Spec.Listeners[i]))
	}
	for i := range ls {
		ls[i].conflict = conflictOf(ls, i)
	}
	return ls
}

func readListener(gw *gwapiv1.Gateway, field string, spec *gwapiv1.Listener) listener {
	li := listener{
		spec: spec, field: field, name: string(spec.Name), hostname: string(or(spec.Hostname, "")), port: uint16(spec.Port),
		accepted: finding{true, string(gwapiv1.ListenerReasonAccepted), "The listener is accepted"},
	}
	no := func(reason gwapiv1.ListenerConditionReason, where, format string, args ...any) {
		if li.accepted.ok {
			li.accepted = finding{false, string(reason), field + where + ": " + fmt.Sprintf(format, args...)}
		}
	}
	switch spec.Protocol {
	case gwapiv1.HTTPProtocolType:
	case gwapiv1.HTTPSProtocolType:
		li.tls = true
	default:
		no(gwapiv1.ListenerReasonUnsupportedProtocol, ".protocol", "%s is not supported, only HTTP and HTTPS", spec.Protocol)
	}
	if spec.Port < 1 || spec.Port > 65535 {
		no(gwapiv1.ListenerReasonPortUnavailable, ".port", "must be from 1 to 65535")
	}
	if slices.Contains([]uint16{names.PortOutbound, names.PortInbound, names.PortAgent, names.PortReady, names.PortDNS}, li.port) {
		no(gwapiv1.ListenerReasonPortUnavailable, ".port", "%d is used by the proxy itself", li.port)
	}
	if li.tls {
		if spec.TLS != nil && or(spec.TLS.Mode, gwapiv1.TLSModeTerminate) != gwapiv1.TLSModeTerminate {
			no(gwapiv1.ListenerReasonUnsupportedValue, ".tls.mode", "must be Terminate for HTTPS")
		}
		if spec.TLS != nil && len(spec.TLS.Options) > 0 {
			no(gwapiv1.ListenerReasonUnsupportedValue, ".tls.options", "none is supported")
		}
	}
	if !unknownProtocol(&li) {
		li.readKinds()
	}
	if problem := li.readNamespaces(); problem != "" {
		no(gwapiv1.ListenerReasonUnsupportedValue, ".allowedRoutes.namespaces", "%s", problem)
	}
	return li
}

// readKinds: without kinds all that fit the protocol may attach.
func (li *listener) readKinds() {
	ours := []string{KindHTTPRoute, KindGRPCRoute}
	if li.spec.AllowedRoutes == nil || len(li.spec.AllowedRoutes.Kinds) == 0 {
		li.kinds = ours
		return
	}
	for _, k := range li.spec.AllowedRoutes.Kinds {
		group := or(k.Group, gwapiv1.GroupName)
		switch {
		case group != gwapiv1.GroupName || !slices.Contains(ours, string(k.Kind)):
			li.badKinds = append(li.badKinds, string(group)+"/"+string(k.Kind))
		case !slices.Contains(li.kinds, string(k.Kind)):
			li.kinds = append(li.kinds, string(k.Kind))
		}
	}
}

func (li *listener) from() gwapiv1.FromNamespaces {
	if a := li.spec.AllowedRoutes; a != nil && a.Namespaces != nil {
		return or(a.Namespaces.From, gwapiv1.NamespacesFromSame)
	}
	return gwapiv1.NamespacesFromSame
}

func (li *listener) readNamespaces() (problem string) {
	switch from := li.from(); from {
	case gwapiv1.NamespacesFromAll, gwapiv1.NamespacesFromSame, gwapiv1.NamespacesFromNone:
		return ""
	case gwapiv1.NamespacesFromSelector:
		s := li.spec.AllowedRoutes.Namespaces.Selector
		if s == nil {
			return "from: Selector needs a selector"
		}
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			return err.Error()
		}
		li.selector = selector
		return ""
	default:
		return fmt.Sprintf("from: %q is not supported", from)
	}
}

// conflictOf finds out whether a listener can't be told from others of the Gateway. None of them
// wins: all are left out (GatewaySpec.listeners).
func conflictOf(ls []listener, i int) finding {
	var protocol, hostname []string
	for j := range ls {
		if j == i || ls[j].port != ls[i].port || unknownProtocol(&ls[j]) || unknownProtocol(&ls[i]) {
			continue
		}
		switch {
		case ls[j].spec.Protocol != ls[i].spec.Protocol:
			protocol = append(protocol, ls[j].name)
		case ls[j].hostname == ls[i].hostname:
			hostname = append(hostname, ls[j].name)
		}
	}
	switch {
	case len(protocol) > 0:
		return finding{true, string(gwapiv1.ListenerReasonProtocolConflict), fmt.Sprintf("Listener %s has the same port and another protocol", list(protocol))}
	case len(hostname) > 0:
		return finding{true, string(gwapiv1.ListenerReasonHostnameConflict), fmt.Sprintf("Listener %s has the same port, protocol and hostname", list(hostname))}
	}
	return finding{false, string(gwapiv1.ListenerReasonNoConflicts), "The listener is distinct"}
}

func unknownProtocol(li *listener) bool {
	return li.accepted.reason == string(gwapiv1.ListenerReasonUnsupportedProtocol)
}

// selectedBy: port and sectionName must both fit where they are set (ParentReference).
func (li *listener) selectedBy(ref gwapiv1.ParentReference) bool {
	if n := or(ref.Port, 0); n != 0 && n != li.spec.Port {
		return false
	}
	s := or(ref.SectionName, "")
	return s == "" || s == li.spec.Name
}

// allows tells whether the listener lets routes of this kind and namespace attach.
func (li *listener) allows(l Lookup, gw *gwapiv1.Gateway, r *route) bool {
	if !slices.Contains(li.kinds, r.source.Kind) {
		return false
	}
	switch li.from() {
	case gwapiv1.NamespacesFromAll:
		return true
	case gwapiv1.NamespacesFromSame:
		return r.source.Namespace == gw.Namespace
	case gwapiv1.NamespacesFromSelector:
		ns, ok := l.Namespace(r.source.Namespace)
		return ok && li.selector != nil && li.selector.Matches(labelSet(ns.Labels))
	}
	return false
}

func labelSet(ls []model.Label) labels.Set {
	set := make(labels.Set, len(ls))
	for _, l := range ls {
		set[l.Name] = l.Value
	}
	return set
}

// hostsOf are the host names for which a route attaches to the listener; none where theirs don't meet.
func (li *listener) hostsOf(r *route) []string {
	if len(r.hostnames) == 0 {
		return []string{li.hostname}
	}
	var out []string
	for _, h := range r.hostnames {
		if m, ok := meet(li.hostname, h); ok && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// table is the name of the RouteTable that holds the listener's routes.
func (li *listener) table(gw *gwapiv1.Gateway) string {
	if li.tls {
		return names.GatewaySection(gw.Namespace, gw.Name, li.port, li.name)
	}
	return names.GatewayPort(gw.Namespace, gw.Name, li.port)
}
