// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// maxListeners bounds the listeners of a Gateway together with those of its ListenerSets: the table of an
// HTTPS listener lists the host names of all others of its port, so that memory grows with the square. For the
// same reason a listener takes a place for each placeBytes of its host name.
const (
	maxListeners = 256
	placeBytes   = 64
)

// placesOf returns how many listeners of each of the ListenerSets, which are sorted by precedence, are within
// maxListeners. Those of the Gateway always are. A namespace other than the Gateway's gets no more places than
// it leaves free. Only older sets count, so that a younger one never takes the place of a listener that is served.
func placesOf(gw *gwapiv1.Gateway, sets []*gwapiv1.ListenerSet) []int {
	free, taken := maxListeners, map[string]int{}
	for i := range gw.Spec.Listeners {
		free -= placesFor(gw.Spec.Listeners[i].Hostname)
	}
	out := make([]int, len(sets))
	for i, s := range sets {
		for j := range s.Spec.Listeners {
			n := placesFor(s.Spec.Listeners[j].Hostname)
			if free < n || s.Namespace != gw.Namespace && free < taken[s.Namespace]+n {
				break
			}
			free -= n
			taken[s.Namespace] += n
			out[i]++
		}
	}
	return out
}

// placesFor is how many places a listener with that host name takes.
func placesFor(hostname *gwapiv1.Hostname) int {
	return max(1, (len(or(hostname, ""))+placeBytes-1)/placeBytes)
}

// readExcess reads the listeners of a ListenerSet from an index on: those beyond its places.
func readExcess(gw *gwapiv1.Gateway, set *gwapiv1.ListenerSet, from int) []listener {
	out := readSet(gw, set, from, len(set.Spec.Listeners))
	for i := range out {
		li := &out[i]
		li.accepted = Finding{false, string(gwapiv1.ListenerEntryReasonTooManyListeners), fmt.Sprintf(
			"%s: Gateway %s has too many listeners: at most %d are accepted, its own first and then those of the oldest ListenerSets; one with a long hostname counts once for each %d characters, and a namespace other than the Gateway's gets no more than it leaves free; remove listeners that are not needed, or attach the ListenerSet to another Gateway",
			li.field, keyOf(gw), maxListeners, placeBytes)}
		li.conflict = Finding{false, string(gwapiv1.ListenerReasonNoConflicts), "Conflicts are not checked, since the listener is not accepted"}
	}
	return out
}

// listenersAt are the listeners of a parent of routes, those beyond its places too. They are shared.
func listenersAt(l Lookup, gw *gwapiv1.Gateway, parent model.Object) []*listener {
	out := l.Listeners(keyOf(gw)).of(parent)
	excess := excessOf(l, gw, parent, len(out))
	for i := range excess {
		out = append(out, &excess[i])
	}
	return out
}

// excessOf are the listeners of a parent of routes that are beyond its places: a ListenerSet that the Gateway
// lets attach, of which that many have a place.
func excessOf(l Lookup, gw *gwapiv1.Gateway, parent model.Object, places int) []listener {
	if parent.Kind != KindListenerSet {
		return nil
	}
	set, ok := l.ListenerSet(model.Key{Namespace: parent.Namespace, Name: parent.Name})
	if !ok || !letsIn(l, gw, set) {
		return nil
	}
	return readExcess(gw, set, places)
}

// isExcess tells whether a listener is beyond the places.
func (li *listener) isExcess() bool {
	return li.accepted.Reason == string(gwapiv1.ListenerEntryReasonTooManyListeners)
}
