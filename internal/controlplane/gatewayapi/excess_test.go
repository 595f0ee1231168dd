// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// shared is a Gateway of namespace infra with one listener that lets ListenerSets of all namespaces in.
func shared() *world {
	all := gwapiv1.NamespacesFromAll
	return &world{
		asked:   map[string]bool{},
		classes: []*gwapiv1.GatewayClass{{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}, Spec: gwapiv1.GatewayClassSpec{ControllerName: names.ControllerName}}},
		gateways: []*gwapiv1.Gateway{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "edge", Generation: 1},
			Spec: gwapiv1.GatewaySpec{
				GatewayClassName: "tulle", AllowedListeners: &gwapiv1.AllowedListeners{Namespaces: &gwapiv1.ListenerNamespaces{From: &all}},
				Listeners: []gwapiv1.Listener{{Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType}},
			},
		}},
	}
}

// attach adds a ListenerSet with so many listeners, each with a port of its own, that is younger than those before.
func (w *world) attach(namespace string, listeners int) *gwapiv1.ListenerSet {
	n, infra := len(w.sets), gwapiv1.Namespace("infra")
	set := &gwapiv1.ListenerSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("set-%d", n), Generation: 1, CreationTimestamp: metav1.NewTime(time.Unix(int64(1000+n), 0))},
		Spec:       gwapiv1.ListenerSetSpec{ParentRef: gwapiv1.ParentGatewayReference{Namespace: &infra, Name: "edge"}},
	}
	for i := range listeners {
		set.Spec.Listeners = append(set.Spec.Listeners, gwapiv1.ListenerEntry{Name: gwapiv1.SectionName(fmt.Sprintf("l%02d", i)), Port: gwapiv1.PortNumber(1000 + 64*n + i), Protocol: gwapiv1.HTTPProtocolType})
	}
	w.sets = append(w.sets, set)
	return set
}

// accepted counts the accepted listeners of each ListenerSet, as "namespace/name number", in the order of the sets.
func (w *world) accepted(t *testing.T, sets []*gwapiv1.ListenerSet) (out []string) {
	t.Helper()
	for _, s := range sets {
		v, ok := gatewayapi.ListenerSetStatus(w, s)
		if !ok || len(v.Listeners) != len(s.Spec.Listeners) {
			t.Fatalf("%s has a status of %d listeners, want %d", s.Name, len(v.Listeners), len(s.Spec.Listeners))
		}
		n := 0
		for i, l := range v.Listeners {
			if l.Name != s.Spec.Listeners[i].Name {
				t.Errorf("%s: listener %d is %s, want %s", s.Name, i, l.Name, s.Spec.Listeners[i].Name)
			}
			if apimeta.IsStatusConditionTrue(l.Conditions, "Accepted") {
				n++
			}
		}
		if n != len(v.Serving) {
			t.Errorf("%s: %d listeners are accepted, and %d served", s.Name, n, len(v.Serving))
		}
		out = append(out, fmt.Sprintf("%s/%s %d", s.Namespace, s.Name, n))
	}
	return out
}

// TestTooManyListeners: of the listeners of ListenerSets those of the oldest are accepted, until a namespace has as
// many as it leaves free. What is beyond is in no port. A younger set takes no place of an older one.
func TestTooManyListeners(t *testing.T) {
	w := shared()
	for range 4 {
		w.attach("greedy", 64)
	}
	w.attach("late", 64)
	w.attach("later", 64)
	w.attach("infra", 64)
	w.attach("last", 2)
	// 255 places beside the Gateway's own listener.
	want := []string{
		"greedy/set-0 64", "greedy/set-1 64", "greedy/set-2 0", "greedy/set-3 0", // 127 are left
		"late/set-4 64", "later/set-5 32", // 63 and 31 are left
		"infra/set-6 31", "last/set-7 0", // the Gateway's own namespace may take all that is left
	}
	if d := cmp.Diff(want, w.accepted(t, w.sets)); d != "" {
		t.Errorf("accepted listeners (-want +got):\n%s", d)
	}
	for seed := range uint64(3) {
		if d := cmp.Diff(want, w.shuffled(seed).accepted(t, w.sets)); d != "" {
			t.Errorf("accepted listeners depend on the order of the input:\n%s", d)
		}
	}
	for n := 1; n < len(w.sets); n++ {
		older := *w
		older.sets = w.sets[:n]
		if d := cmp.Diff(want[:n], older.accepted(t, older.sets)); d != "" {
			t.Errorf("younger ListenerSets than the first %d change what of these is accepted (-with +without):\n%s", n, d)
		}
	}
	ports := gatewayapi.GatewayPortNumbers(w, model.Key{Namespace: "infra", Name: "edge"})
	if n := len(ports); n != 256 || slices.Contains(ports, 1000+64*2) {
		t.Errorf("the Gateway has %d ports, want 256, and none of greedy/set-2: %v", n, ports)
	}
}

// TestLongHostnames: a listener takes a place for each 64 bytes of its host name.
func TestLongHostnames(t *testing.T) {
	w := shared()
	for range 6 {
		set := w.attach("infra", 32)
		for i := range set.Spec.Listeners {
			long := gwapiv1.Hostname(strings.Repeat("x", 60) + "." + strings.Repeat("x", 60) + "." + fmt.Sprint(i) + ".example.com")
			set.Spec.Listeners[i].Hostname = &long
		}
	}
	// 255 places, three for each.
	want := []string{"infra/set-0 32", "infra/set-1 32", "infra/set-2 21", "infra/set-3 0", "infra/set-4 0", "infra/set-5 0"}
	if d := cmp.Diff(want, w.accepted(t, w.sets)); d != "" {
		t.Errorf("accepted listeners (-want +got):\n%s", d)
	}
}

// TestStatusOfTooManyListeners: listeners, their set and routes on them say what the matter is, and what to do.
func TestStatusOfTooManyListeners(t *testing.T) {
	w := shared()
	w.attach("shop", 64)
	w.attach("shop", 63)
	partly, wholly := w.attach("shop", 3), w.attach("shop", 1)
	kind := gwapiv1.Kind("ListenerSet")
	routes, _ := gatewayapi.RouteKindOf("HTTPRoute")
	for _, set := range []*gwapiv1.ListenerSet{partly, wholly} {
		w.routes = append(w.routes, routes.Parse(&gwapiv1.HTTPRoute{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "on-" + set.Name, Generation: 1},
			Spec:       gwapiv1.HTTPRouteSpec{CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: []gwapiv1.ParentReference{{Kind: &kind, Name: gwapiv1.ObjectName(set.Name)}}}},
		}))
	}
	const why = "Gateway infra/edge has too many listeners: at most 256 are accepted, its own first and then those of the oldest ListenerSets; " +
		"one with a long hostname counts once for each 64 characters, and a namespace other than the Gateway's gets no more than it leaves free; remove listeners that are not needed, or attach the ListenerSet to another Gateway"
	say := func(conditions []metav1.Condition, kind string) string {
		c := apimeta.FindStatusCondition(conditions, kind)
		return fmt.Sprintf("%s %s %s: %s", c.Type, c.Status, c.Reason, c.Message)
	}
	first, _ := gatewayapi.ListenerSetStatus(w, partly)
	second, _ := gatewayapi.ListenerSetStatus(w, wholly)
	one, two := gatewayapi.RouteParents(w, w.routes[0])[0], gatewayapi.RouteParents(w, w.routes[1])[0]
	got := []string{
		say([]metav1.Condition{first.Accepted}, "Accepted"), say([]metav1.Condition{second.Accepted}, "Accepted"),
		say(first.Listeners[0].Conditions, "Accepted"), say(first.Listeners[2].Conditions, "Accepted"), say(first.Listeners[2].Conditions, "Conflicted"),
		fmt.Sprint("attached ", first.Listeners[0].AttachedRoutes, second.Listeners[0].AttachedRoutes),
		fmt.Sprint(one.Tables, one.Idle), one.Unserved, fmt.Sprint(two.Tables, two.Idle), two.Unserved,
	}
	want := []string{
		"Accepted True ListenersNotValid: Listeners that are not valid: l01, l02; see their conditions",
		"Accepted False ListenersNotValid: Listeners that are not valid: l00; see their conditions",
		"Accepted True Accepted: The listener is accepted", "Accepted False TooManyListeners: spec.listeners[2]: " + why,
		"Conflicted False NoConflicts: Conflicts are not checked, since the listener is not accepted",
		"attached 1 1",
		"[gw/infra/edge/1128] false",
		"listener l01 of ListenerSet shop/set-2 is not served: spec.listeners[1]: " + why + "; listener l02 of ListenerSet shop/set-2 is not served: spec.listeners[2]: " + why,
		"[] true", "listener l00 of ListenerSet shop/set-3 is not served: spec.listeners[0]: " + why,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
}
