// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"slices"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// disallowed says why none of the listeners that a route selects lets it attach, and what to do: which
// kinds a listener takes follows from its protocol first, and only then from allowedRoutes.
func disallowed(parent string, ls []*listener, r *Route) string {
	var texts []string
	for _, li := range ls[:min(len(ls), shown)] {
		texts = append(texts, li.disallows(r))
	}
	out := parent + ": " + strings.Join(texts, "; ")
	if n := len(ls) - shown; n > 0 {
		out += fmt.Sprintf("; and %d more listeners", n)
	}
	if !slices.ContainsFunc(ls, func(li *listener) bool { return slices.Contains(li.fits, r.source.Kind) }) {
		out += "; routes of kind " + r.source.Kind + " need a listener of protocol " + protocolsFor(r.source.Kind)
	}
	return out
}

// disallows says why a listener does not let a route attach.
func (li *listener) disallows(r *Route) string {
	what := fmt.Sprintf("listener %s of protocol %s", li.name, li.spec.Protocol)
	if li.spec.Protocol == gwapiv1.TLSProtocolType {
		what += ", mode " + string(li.mode()) + ","
	}
	switch {
	case len(li.fits) == 0:
		return what + " takes no routes, since the protocol is not supported"
	case !slices.Contains(li.fits, r.source.Kind):
		return what + " takes " + strings.Join(li.fits, " and ")
	case !slices.Contains(li.kinds, r.source.Kind):
		return fmt.Sprintf("listener %s does not allow routes of kind %s: add it to %s.allowedRoutes.kinds", li.name, r.source.Kind, li.field)
	}
	field := li.field + ".allowedRoutes.namespaces"
	switch li.from() {
	case gwapiv1.NamespacesFromSame:
		return fmt.Sprintf("listener %s allows routes of its own namespace %s only, not of %s: set %s.from to All or Selector", li.name, li.of.Namespace, r.source.Namespace, field)
	case gwapiv1.NamespacesFromSelector:
		return fmt.Sprintf("listener %s does not select namespace %s: see its allowedRoutes.namespaces.selector and the labels of the namespace", li.name, r.source.Namespace)
	}
	return fmt.Sprintf("listener %s allows routes of no namespace: see its allowedRoutes.namespaces.from", li.name)
}

// protocolsFor are the protocols of listeners that take a kind of routes, in words.
func protocolsFor(kind string) string {
	k, _ := RouteKindOf(kind)
	return k.listeners
}
