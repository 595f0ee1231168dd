// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import "tulle.dev/tulle/internal/controlplane/model"

// attachments tell on which listeners a route is in effect.
type attachments struct {
	l Lookup
	r *Route
	// read is the route's precedence by parent, read no sooner than needed.
	read map[model.Object]Precedence
}

// attachment is a route on a listener, for the host names they have in common.
type attachment struct {
	*Route
	hosts []string
}

func attachmentsOf(l Lookup, r *Route) *attachments {
	return &attachments{l: l, r: r, read: map[model.Object]Precedence{}}
}

// on is the route on a listener; ok is false where it is not in effect there. Routes of bytes are attached even where
// older ones leave them no connection.
func (a *attachments) on(li *listener) (at attachment, ok bool) {
	if !li.chosenBy(&a.r.head) || !li.allows(a.l, &a.r.head) {
		return at, false
	}
	hosts := li.hostsOf(&a.r.head)
	return attachment{a.r, hosts}, len(hosts) > 0 && a.r.valid() && a.loses(li) == nil && !a.tooLarge(li)
}

// loses returns the route that keeps the route, which fits the listener, from being in effect; nil if none does.
func (a *attachments) loses(li *listener) *model.Object {
	if a.r.IsOpaque() {
		return nil
	}
	o, _ := a.precedence(li.of).at(li.id)
	return o.by
}

func (a *attachments) precedence(parent model.Object) Precedence {
	p, ok := a.read[parent]
	if !ok {
		p = a.l.Precedence(parent, a.r.source)
		a.read[parent] = p
	}
	return p
}

// tooLarge reports whether the route has no effect at the listener's Gateway because of its expressions.
func (a *attachments) tooLarge(li *listener) bool {
	if a.r.size.regexes == 0 {
		return false
	}
	gw, ok := gatewayBehind(a.l, li.of)
	return ok && a.l.ExcessExpressions(keyOf(gw), a.r.source)
}
