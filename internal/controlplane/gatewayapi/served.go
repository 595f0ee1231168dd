// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// Served says which listeners of a Gateway proxies are given.
type Served struct {
	idle map[string]string // by listener.id: why it is not served
}

// ReadServed reads which listeners of a Gateway and of its ListenerSets are served. It reads certificates,
// so that routes need not: a renewed certificate changes nothing here. Lookup.Served is made from it.
func ReadServed(l Lookup, gateway model.Key) Served {
	gw, ok := gatewayOf(l, gateway)
	if !ok {
		return Served{}
	}
	out := Served{idle: map[string]string{}}
	ls := listenersOf(l, gw)
	for i := range ls {
		if why := ls[i].idle(l, gw); why != "" {
			out.idle[ls[i].id] = why
		}
	}
	return out
}

// idle says why a listener is not served; empty if it is.
func (li *listener) idle(l Lookup, gw *gwapiv1.Gateway) string {
	if refusal(gw) != nil {
		return "the Gateway is not accepted; see its condition Accepted"
	}
	if li.serves(l, gw) {
		return ""
	}
	switch {
	case !li.accepted.OK:
		return li.accepted.Message
	case li.conflict.OK:
		return li.conflict.Message
	}
	_, problems := certificates(l, li)
	_, bad, _ := clientValidation(l, gw, li)
	if problems = append(problems, bad...); len(problems) > 0 {
		return Tell(problems)
	}
	return "no kind of route that it allows is supported"
}

// of tells which of the listeners are not served, and whether none is.
func (s Served) of(ls []*listener, parent string) (idle bool, unserved string) {
	var out []string
	for _, li := range ls {
		why, not := s.idle[li.id]
		if li.isExcess() {
			why, not = li.accepted.Message, true
		}
		if not {
			out = append(out, fmt.Sprintf("listener %s of %s is not served: %s", li.name, parent, why))
		}
	}
	text := strings.Join(out[:min(len(out), shown)], "; ")
	if n := len(out) - shown; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return len(ls) > 0 && len(out) == len(ls), text
}
