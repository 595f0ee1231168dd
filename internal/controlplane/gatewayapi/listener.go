// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/virtualhost"
)

// listener is a listener of a Gateway or of a ListenerSet that is attached to it, judged by these alone.
type listener struct {
	// of is the Gateway or ListenerSet that lists it, and generation that object's.
	of         model.Object
	generation int64
	spec       *gwapiv1.Listener
	field      string // "spec.listeners[0]"
	name       string
	id         string // the name, and for one of a ListenerSet what tells it from others of the Gateway
	hostname   string // "" is any
	port       uint16
	// tls: listeners of the port are told apart by server name. passthrough: TLS is not ended here.
	tls, passthrough bool
	// bytes: what comes is passed on as it is, without a look for HTTP. udp: it comes as datagrams.
	bytes, udp bool
	// fits are the kinds of routes that the protocol can carry.
	fits []string
	// kinds are those of our routes that may attach; badKinds are named in allowedRoutes but not ours.
	kinds    []string
	badKinds []string
	selector labels.Selector // for allowedRoutes.namespaces.from Selector
	accepted Finding
	conflict Finding  // ok: there is a conflict
	overlap  *Finding // nil if its hostname does not overlap with another's
}

// usable listeners can be given to proxies, as far as the Gateway alone tells.
func (li *listener) usable() bool {
	return li.accepted.OK && !li.conflict.OK && len(li.kinds) > 0
}

// terminates tells whether the listener ends TLS and needs a certificate for it.
func (li *listener) terminates() bool { return li.tls && !li.passthrough }

// Listeners are the listeners of a Gateway, in the order of the spec, and then those of the ListenerSets
// that are attached to it, by precedence, as far as maxListeners allows.
type Listeners struct {
	list   []listener
	owners map[socket]map[virtualhost.Pattern]string // by the host name of a usable listener: its id
}

// socket is what a listener listens on.
type socket struct {
	port uint16
	udp  bool
}

// listenersOf are the Listeners of a Gateway. Who asks may change what it gets.
func listenersOf(l Lookup, gw *gwapiv1.Gateway) []listener {
	return slices.Clone(l.Listeners(keyOf(gw)).list)
}

// of are the listeners that an object lists. They are shared.
func (ls Listeners) of(parent model.Object) (out []*listener) {
	for i := range ls.list {
		if ls.list[i].of == parent {
			out = append(out, &ls.list[i])
		}
	}
	return out
}

// owner is the id of the usable listener of the same socket to which a host name belongs: of those that fit the one
// with the most specific host name.
func (ls Listeners) owner(of socket, host string) string {
	owners := ls.owners[of]
	for p := range virtualhost.PatternOf(host).Covering {
		if id, ok := owners[p]; ok {
			return id
		}
	}
	return ""
}

func ownersOf(ls []listener) map[socket]map[virtualhost.Pattern]string {
	out := map[socket]map[virtualhost.Pattern]string{}
	for i := range ls {
		li := &ls[i]
		if !li.usable() {
			continue
		}
		if out[li.socket()] == nil {
			out[li.socket()] = map[virtualhost.Pattern]string{}
		}
		if h := virtualhost.PatternOf(li.hostname); out[li.socket()][h] == "" {
			out[li.socket()][h] = li.id
		}
	}
	return out
}

func (li *listener) socket() socket { return socket{li.port, li.udp} }

// ReadListeners reads and judges the listeners of a Gateway by themselves: neither routes nor certificates
// are looked at. Lookup.Listeners is made from it.
func ReadListeners(l Lookup, gateway model.Key) Listeners {
	gw, ok := gatewayOf(l, gateway)
	if !ok {
		return Listeners{}
	}
	own := model.Object{Kind: KindGateway, Namespace: gw.Namespace, Name: gw.Name}
	ls := make([]listener, 0, len(gw.Spec.Listeners))
	for i := range gw.Spec.Listeners {
		ls = append(ls, readListener(gw, own, gw.Generation, i, &gw.Spec.Listeners[i]))
	}
	for i := range ls {
		ls[i].conflict = conflictOf(ls, i)
	}
	sets := setsOf(l, gw)
	for i, n := range placesOf(gw, sets) {
		for _, li := range readSet(gw, sets[i], 0, n) {
			ls = append(ls, li)
			ls[len(ls)-1].conflict = lesserConflict(ls)
		}
	}
	for i, o := range overlapping(ls) {
		ls[i].overlap = o
	}
	return Listeners{ls, ownersOf(ls)}
}

func readListener(gw *gwapiv1.Gateway, of model.Object, generation int64, i int, spec *gwapiv1.Listener) listener {
	field := fmt.Sprintf("spec.listeners[%d]", i)
	li := listener{
		of: of, generation: generation, spec: spec, field: field, name: string(spec.Name), id: string(spec.Name), hostname: strings.ToLower(string(or(spec.Hostname, ""))), port: uint16(spec.Port),
		accepted: Finding{true, string(gwapiv1.ListenerReasonAccepted), "The listener is accepted"},
	}
	no := func(reason gwapiv1.ListenerConditionReason, where, format string, args ...any) {
		if li.accepted.OK {
			li.accepted = Finding{false, string(reason), field + where + ": " + fmt.Sprintf(format, args...)}
		}
	}
	if !li.readProtocol() {
		no(gwapiv1.ListenerReasonUnsupportedProtocol, ".protocol", "%s is not supported, only HTTP, HTTPS, TLS, TCP and UDP", spec.Protocol)
	}
	if spec.Port < 1 || spec.Port > 65535 {
		no(gwapiv1.ListenerReasonPortUnavailable, ".port", "must be from 1 to 65535")
	}
	if names.IsProxyPort(li.port) {
		no(gwapiv1.ListenerReasonPortUnavailable, ".port", "%d is used by the proxy itself", li.port)
	}
	if li.tls {
		switch mode := li.mode(); {
		case mode != gwapiv1.TLSModeTerminate && !li.bytes:
			no(gwapiv1.ListenerReasonUnsupportedValue, ".tls.mode", "must be Terminate for HTTPS")
		case mode != gwapiv1.TLSModeTerminate && mode != gwapiv1.TLSModePassthrough:
			no(gwapiv1.ListenerReasonUnsupportedValue, ".tls.mode", "%s is not supported, only Terminate and Passthrough", mode)
		}
		if spec.TLS != nil && len(spec.TLS.Options) > 0 {
			no(gwapiv1.ListenerReasonUnsupportedValue, ".tls.options", "none is supported")
		}
	}
	if spec.Filters != nil && len(spec.Filters.Requests) > 0 {
		// To serve it all the same would let requests pass that a filter is to stop.
		no(gwapiv1.ListenerReasonUnsupportedValue, ".filters.requests", "filters of listeners are not supported; remove them")
	}
	if !unknownProtocol(&li) {
		li.readKinds()
	}
	if problem := li.readNamespaces(); problem != "" {
		no(gwapiv1.ListenerReasonUnsupportedValue, ".allowedRoutes.namespaces", "%s", problem)
	}
	return li
}

// readProtocol tells whether the protocol is one that there is.
func (li *listener) readProtocol() bool {
	switch li.spec.Protocol {
	case gwapiv1.HTTPProtocolType:
	case gwapiv1.HTTPSProtocolType:
		li.tls = true
	case gwapiv1.TLSProtocolType:
		li.tls, li.bytes, li.passthrough = true, true, li.mode() == gwapiv1.TLSModePassthrough
	case gwapiv1.TCPProtocolType:
		li.bytes, li.hostname = true, ""
	case gwapiv1.UDPProtocolType:
		li.bytes, li.udp, li.hostname = true, true, ""
	default:
		return false
	}
	for _, k := range RouteKinds() {
		if k.fits(li.spec.Protocol, li.passthrough) {
			li.fits = append(li.fits, k.Name)
		}
	}
	return true
}

func (li *listener) mode() gwapiv1.TLSModeType {
	if li.spec.TLS == nil {
		return gwapiv1.TLSModeTerminate
	}
	return or(li.spec.TLS.Mode, gwapiv1.TLSModeTerminate)
}

// readKinds: without kinds all that fit the protocol may attach.
func (li *listener) readKinds() {
	if li.spec.AllowedRoutes == nil || len(li.spec.AllowedRoutes.Kinds) == 0 {
		li.kinds = li.fits
		return
	}
	for _, k := range li.spec.AllowedRoutes.Kinds {
		group := or(k.Group, gwapiv1.GroupName)
		switch {
		case group != gwapiv1.GroupName || !slices.Contains(li.fits, string(k.Kind)):
			li.badKinds = append(li.badKinds, kindText(group, k.Kind))
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

// conflictOf finds out whether a listener can't be told from others of the Gateway itself. None of
// them wins: all are left out (GatewaySpec.listeners).
func conflictOf(ls []listener, i int) Finding {
	found := map[clash][]string{}
	for j := range ls {
		if c := clashOf(&ls[j], &ls[i]); j != i && c != none {
			found[c] = append(found[c], ls[j].name)
		}
	}
	for _, c := range []clash{protocols, alike, hostnames} {
		if others := found[c]; len(others) > 0 {
			return c.finding("Listener " + list(others))
		}
	}
	return none.finding("")
}

// clash is why two listeners can't be told apart.
type clash int

const (
	none clash = iota
	protocols
	alike
	hostnames
)

func clashOf(a, b *listener) clash {
	// TCP and UDP have each their own ports. TLS and HTTPS are told apart by the server name.
	if a.port != b.port || a.udp != b.udp || unknownProtocol(a) || unknownProtocol(b) {
		return none
	}
	bothTLS, bothBytes := a.tls && b.tls, a.bytes && !a.tls && b.bytes && !b.tls
	switch {
	case a.spec.Protocol != b.spec.Protocol && !(bothTLS && a.hostname != b.hostname):
		return protocols
	case bothBytes:
		return alike
	case a.hostname == b.hostname:
		return hostnames
	}
	return none
}

// finding is the finding Conflicted.
func (c clash) finding(with string) Finding {
	switch c {
	case protocols:
		return Finding{true, string(gwapiv1.ListenerReasonProtocolConflict), with + " has the same port and another protocol"}
	case alike:
		return Finding{true, string(gwapiv1.ListenerReasonProtocolConflict), with + " has the same port and protocol, and nothing else tells connections apart"}
	case hostnames:
		return Finding{true, string(gwapiv1.ListenerReasonHostnameConflict), with + " has the same port, protocol and hostname"}
	case none:
	}
	return Finding{false, string(gwapiv1.ListenerReasonNoConflicts), "The listener is distinct"}
}

func unknownProtocol(li *listener) bool {
	return li.accepted.Reason == string(gwapiv1.ListenerReasonUnsupportedProtocol)
}

// selectedBy: port and sectionName must both fit where they are set (ParentReference).
func (li *listener) selectedBy(ref gwapiv1.ParentReference) bool {
	if n := or(ref.Port, 0); n != 0 && n != li.spec.Port {
		return false
	}
	s := or(ref.SectionName, "")
	return s == "" || s == li.spec.Name
}

// chosenBy tells whether a parentRef of the route is the listener.
func (li *listener) chosenBy(r *head) bool {
	return slices.ContainsFunc(r.parents, func(ref gwapiv1.ParentReference) bool {
		to, ok := parentOf(r.source.Namespace, ref)
		return ok && to == li.of && li.selectedBy(ref)
	})
}

// allows tells whether the listener lets routes of this kind and namespace attach.
func (li *listener) allows(l Lookup, r *head) bool {
	return slices.Contains(li.kinds, r.source.Kind) && li.admits(l, r.source.Namespace)
}

// admits tells whether the listener lets routes of a namespace attach.
func (li *listener) admits(l Lookup, namespace string) bool {
	switch li.from() {
	case gwapiv1.NamespacesFromAll:
		return true
	case gwapiv1.NamespacesFromSame:
		return namespace == li.of.Namespace
	case gwapiv1.NamespacesFromSelector:
		ns, ok := l.Namespace(namespace)
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
func (li *listener) hostsOf(r *head) []string {
	if len(r.hostnames) == 0 {
		return []string{li.hostname}
	}
	var out []string
	for _, h := range r.hostnames {
		if m, ok := virtualhost.Meet(li.hostname, h); ok && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// table is the name of the RouteTable or StreamTable that holds the listener's routes.
func (li *listener) table(gw *gwapiv1.Gateway) string {
	switch {
	case li.udp:
		return names.GatewayUDPPort(gw.Namespace, gw.Name, li.port)
	case li.tls || li.bytes:
		return names.GatewaySection(gw.Namespace, gw.Name, li.port, li.id)
	}
	return names.GatewayPort(gw.Namespace, gw.Name, li.port)
}
