// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// ListenerSetGateway is the Gateway that a ListenerSet names as its parent, of whatever class; ok is
// false where it names something else. Lookup.ListenerSets is made from it.
func ListenerSetGateway(set *gwapiv1.ListenerSet) (gateway model.Key, ok bool) {
	ref := set.Spec.ParentRef
	if or(ref.Group, gwapiv1.GroupName) != gwapiv1.GroupName || or(ref.Kind, KindGateway) != KindGateway {
		return model.Key{}, false
	}
	return model.Key{Namespace: string(or(ref.Namespace, gwapiv1.Namespace(set.Namespace))), Name: string(ref.Name)}, true
}

// setsOf are the ListenerSets that a Gateway lets attach: the oldest first, then by "namespace/name"
// (ListenerSetSpec.listeners).
func setsOf(l Lookup, gw *gwapiv1.Gateway) []*gwapiv1.ListenerSet {
	if listenersFrom(gw) == gwapiv1.NamespacesFromNone {
		return nil // most Gateways: nothing of ListenerSets is read
	}
	sets := slices.DeleteFunc(slices.Clone(l.ListenerSets(model.Key{Namespace: gw.Namespace, Name: gw.Name})), func(s *gwapiv1.ListenerSet) bool {
		return !letsIn(l, gw, s)
	})
	slices.SortFunc(sets, func(a, b *gwapiv1.ListenerSet) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name))
	})
	return sets
}

func listenersFrom(gw *gwapiv1.Gateway) gwapiv1.FromNamespaces {
	if a := gw.Spec.AllowedListeners; a != nil && a.Namespaces != nil {
		return or(a.Namespaces.From, gwapiv1.NamespacesFromNone)
	}
	return gwapiv1.NamespacesFromNone
}

// letsIn tells whether a Gateway lets a ListenerSet that names it attach (Gateway.spec.allowedListeners).
func letsIn(l Lookup, gw *gwapiv1.Gateway, set *gwapiv1.ListenerSet) bool {
	switch listenersFrom(gw) {
	case gwapiv1.NamespacesFromAll:
		return true
	case gwapiv1.NamespacesFromSame:
		return set.Namespace == gw.Namespace
	case gwapiv1.NamespacesFromSelector:
		selector, err := metav1.LabelSelectorAsSelector(gw.Spec.AllowedListeners.Namespaces.Selector)
		if err != nil {
			return false
		}
		ns, ok := l.Namespace(set.Namespace)
		return ok && selector.Matches(labelSet(ns.Labels))
	}
	return false
}

// readSet reads the listeners of a ListenerSet from one index up to another, which is not included.
func readSet(gw *gwapiv1.Gateway, set *gwapiv1.ListenerSet, from, to int) []listener {
	of := model.Object{Kind: KindListenerSet, Namespace: set.Namespace, Name: set.Name}
	var out []listener
	for i := from; i < to; i++ {
		spec := gwapiv1.Listener(set.Spec.Listeners[i])
		li := readListener(gw, of, set.Generation, i, &spec)
		// A name may stand in several sets. "~" is in no name of Kubernetes.
		li.id = li.name + "~" + set.Name + "~" + set.Namespace
		out = append(out, li)
	}
	return out
}

// lesserConflict is the finding on the last of the listeners, one of a ListenerSet: those before it
// come before it in precedence, too, and keep what they have.
func lesserConflict(ls []listener) Finding {
	last := &ls[len(ls)-1]
	for i := range ls[:len(ls)-1] {
		before := &ls[i]
		c := clashOf(before, last)
		if c == none || before.conflict.OK || !before.accepted.OK {
			continue
		}
		// Who may edit one ListenerSet need not know what is in another.
		with := "A listener of another ListenerSet"
		switch {
		case before.of == last.of:
			with = "Listener " + before.name
		case before.of.Kind == KindGateway:
			with = "Listener " + before.name + " of the Gateway"
		}
		return c.finding(with)
	}
	return none.finding("")
}

// ListenerSetVerdict is the status of a ListenerSet as far as it follows from the objects alone. Times
// are zero; Programmed is left to the status writer.
type ListenerSetVerdict struct {
	// Gateway is the parent.
	Gateway model.Key
	// Accepted is the condition.
	Accepted metav1.Condition
	// Listeners are in the order of the spec, each with Accepted, ResolvedRefs and Conflicted.
	Listeners []gwapiv1.ListenerEntryStatus
	// Serving are the names of the listeners that proxies are given, in the order of the spec.
	Serving []string
}

// ListenerSetStatus is the verdict on a ListenerSet; ok is false where its parent is not ours.
func ListenerSetStatus(l Lookup, set *gwapiv1.ListenerSet) (v ListenerSetVerdict, ok bool) {
	v.Gateway, ok = ListenerSetGateway(set)
	if !ok {
		return v, false
	}
	gw, ok := gatewayOf(l, v.Gateway)
	if !ok {
		return v, false
	}
	refused := refusal(gw)
	accept := func(f Finding) (ListenerSetVerdict, bool) {
		v.Accepted = f.Condition(string(gwapiv1.ListenerSetConditionAccepted), set.Generation)
		return v, true
	}
	if !letsIn(l, gw, set) {
		return accept(Finding{
			false, string(gwapiv1.ListenerSetReasonNotAllowed),
			"Gateway " + v.Gateway.String() + " does not let ListenerSets of namespace " + set.Namespace + " attach: see its spec.allowedListeners",
		})
	}
	of := model.Object{Kind: KindListenerSet, Namespace: set.Namespace, Name: set.Name}
	var bad []string
	for _, shared := range listenersAt(l, gw, of) {
		li := *shared
		v.Listeners = append(v.Listeners, gwapiv1.ListenerEntryStatus(li.judge(l, gw)))
		switch {
		case !li.serves(l, gw):
			bad = append(bad, li.name)
		case refused == nil:
			v.Serving = append(v.Serving, li.name)
		}
	}
	switch {
	case refused != nil:
		return accept(Finding{false, string(gwapiv1.ListenerSetReasonParentNotAccepted), "Gateway " + v.Gateway.String() + " is not accepted: " + refused.Text})
	case len(bad) > 0:
		return accept(Finding{len(v.Serving) > 0, string(gwapiv1.ListenerSetReasonListenersNotValid), "Listeners that are not valid: " + list(bad) + "; see their conditions"})
	}
	return accept(Finding{true, string(gwapiv1.ListenerSetReasonAccepted), "The ListenerSet is accepted"})
}
