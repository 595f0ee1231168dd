// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// maxExpressions bounds what the regular expressions of the routes of one namespace take at one Gateway, in all of its
// tables together. An expression of few characters can take 50 KiB of a proxy's memory.
const maxExpressions = 16 << 20

// Expressions is what the regular expressions of a route take at a Gateway.
type Expressions struct {
	Gateway model.Key
	// Route has the route's place in the order of precedence.
	Route head
	Bytes int
}

// ReadExpressions returns what the regular expressions of a route take at each Gateway of its parents. Routes without
// expressions have none, so that they cost nothing.
func ReadExpressions(l Lookup, r *Route) []Expressions {
	if r.size.regexes == 0 {
		return nil
	}
	var out []Expressions
	for _, gw := range gatewaysOf(l, r) {
		if n := r.expressionsAt(l, gw); n > 0 {
			out = append(out, Expressions{keyOf(gw), head{source: r.source, created: r.created}, n})
		}
	}
	return out
}

// expressionsAt returns what the route's expressions take at a Gateway, wherever no other route takes precedence: the
// rules are in each table once for each host name at most.
func (r *Route) expressionsAt(l Lookup, gw *gwapiv1.Gateway) int {
	hosts := map[string]map[string]bool{}
	ls := l.Listeners(keyOf(gw)).list
	for i := range ls {
		li := &ls[i]
		if li.bytes || !li.chosenBy(&r.head) || !li.allows(l, &r.head) {
			continue
		}
		table := li.table(gw)
		if hosts[table] == nil {
			hosts[table] = map[string]bool{}
		}
		for _, h := range li.hostsOf(&r.head) {
			hosts[table][h] = true
		}
	}
	n := 0
	for _, in := range hosts {
		n += len(in) * r.size.regexes
	}
	return n
}

// ReadExcessExpressions returns the routes beyond maxExpressions. all are those of one namespace at one Gateway. Only
// older routes count, so that a younger one never takes the place of one that is in effect.
func ReadExcessExpressions(all []Expressions) []model.Object {
	slices.SortFunc(all, func(a, b Expressions) int { return a.Route.compare(&b.Route) })
	var out []model.Object
	taken := 0
	for _, x := range all {
		if taken+x.Bytes > maxExpressions {
			out = append(out, x.Route.source)
			continue
		}
		taken += x.Bytes
	}
	return out
}

// tooManyExpressions is the finding on such a route.
func tooManyExpressions(l Lookup, r *Route, gw *gwapiv1.Gateway) Finding {
	return Finding{false, reasonTooLarge, fmt.Sprintf(
		"the regular expressions of the routes of namespace %s at Gateway %s are too large: compiled they may take %d KiB in all listeners and for all hostnames together, the oldest routes first, and those of this route take %d KiB; write shorter expressions, name the listener in parentRefs, or attach the route to another Gateway",
		r.source.Namespace, keyOf(gw), maxExpressions>>10, (r.expressionsAt(l, gw)+1023)>>10)}
}
