// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
)

func conditions(status metav1.ConditionStatus, kinds ...string) (out []metav1.Condition) {
	for _, k := range kinds {
		out = append(out, metav1.Condition{Type: k, Status: status})
	}
	return out
}

func typesOf(cs []metav1.Condition) (out []string) {
	for _, c := range cs {
		out = append(out, c.Type)
	}
	return out
}

// TestOthersConditionsStay: on Gateways, listeners, ListenerSets and parents of routes, conditions of types
// that Tulle does not write stay as they are, and its own that no longer apply are removed
// (GatewayPreserveForeignConditions of Gateway API's conformance suite).
func TestOthersConditionsStay(t *testing.T) {
	seen := metav1.Condition{Type: "their.example/Seen", Status: metav1.ConditionTrue, ObservedGeneration: 1, Reason: "Seen", Message: "as it was"}
	old := append(conditions(metav1.ConditionTrue, "Accepted", "OverlappingTLSConfig", "PartiallyInvalid", "tulle.dev/Programmed"), seen)
	check := func(where string, got []metav1.Condition, want ...string) {
		t.Helper()
		if d := cmp.Diff(append(want, seen.Type), typesOf(got)); d != "" {
			t.Errorf("%s: %s", where, d)
		}
		if d := cmp.Diff(seen, condition(got, seen.Type)); d != "" {
			t.Errorf("%s: %s", where, d)
		}
	}
	gw := Gateway(gwapiv1.GatewayStatus{Conditions: []metav1.Condition{seen}, Listeners: []gwapiv1.ListenerStatus{{Name: "http", Conditions: old}}}, GatewayVerdict{
		GatewayVerdict: gatewayapi.GatewayVerdict{Listeners: []gwapiv1.ListenerStatus{{Name: "http", Conditions: conditions(metav1.ConditionTrue, "Accepted")}}},
	}, Outcome{})
	check("listener", gw.Listeners[0].Conditions, "Accepted", "Programmed")
	if d := cmp.Diff(seen, condition(gw.Conditions, seen.Type)); d != "" {
		t.Errorf("Gateway: %s", d)
	}
	set := ListenerSet(gwapiv1.ListenerSetStatus{Listeners: []gwapiv1.ListenerEntryStatus{{Name: "http", Conditions: old}}}, ListenerSetVerdict{
		ListenerSetVerdict: gatewayapi.ListenerSetVerdict{Listeners: []gwapiv1.ListenerEntryStatus{{Name: "http", Conditions: conditions(metav1.ConditionTrue, "Accepted")}}},
	}, Outcome{})
	check("listener of a set", set.Listeners[0].Conditions, "Accepted", "Programmed")
	v := RouteVerdict{Parents: []gatewayapi.RouteParent{{RouteParentStatus: gwapiv1.RouteParentStatus{Conditions: conditions(metav1.ConditionFalse, "Accepted")}}}}
	parents := Parents([]gwapiv1.RouteParentStatus{{ControllerName: "tulle.dev/mesh-controller", Conditions: old}}, v, []Outcome{{}})
	check("parent of a route", parents[0].Conditions, "Accepted")

	var crowd []metav1.Condition
	for i := range 7 {
		crowd = append(crowd, conditions(metav1.ConditionTrue, fmt.Sprint("their.example/", i))...)
	}
	if got := carryOver(conditions(metav1.ConditionTrue, "Accepted", "Programmed"), crowd); len(got) != 8 || got[1].Type != "Programmed" {
		t.Errorf("there is room for 8: %v", typesOf(got))
	}
}

// TestUnservedListeners: a route is not Programmed where no listener is served that it is attached to, and
// says so where some are not.
func TestUnservedListeners(t *testing.T) {
	const why = "listener https of Gateway edge is not served: there is no Secret"
	parent := func(idle bool, unserved string) gatewayapi.RouteParent {
		return gatewayapi.RouteParent{RouteParentStatus: gwapiv1.RouteParentStatus{Conditions: conditions(metav1.ConditionTrue, "Accepted")}, Idle: idle, Unserved: unserved}
	}
	nobody := Outcome{Programmed: true, Reason: ReasonNoProxies, Message: "no connected proxy needs it"}
	for name, c := range map[string]struct {
		parent gatewayapi.RouteParent
		status metav1.ConditionStatus
		reason string
		says   string
	}{
		"all served":  {parent(false, ""), metav1.ConditionTrue, ReasonNoProxies, "no connected proxy needs it"},
		"none served": {parent(true, why), metav1.ConditionFalse, ReasonListenerNotServed, why},
		"one of two":  {parent(false, why), metav1.ConditionTrue, ReasonNoProxies, "no connected proxy needs it; but " + why},
	} {
		got := Parents(nil, RouteVerdict{Parents: []gatewayapi.RouteParent{c.parent}}, []Outcome{nobody})
		p := condition(got[0].Conditions, ConditionProgrammed)
		if p.Status != c.status || p.Reason != c.reason || p.Message != c.says {
			t.Errorf("%s: %+v", name, p)
		}
		// The next leader reads back the outcome, and not what was added to it.
		if back := previous(&p, Requirement{}); c.status == metav1.ConditionTrue && strings.Contains(back.Message, "listener") {
			t.Errorf("%s: read back as %+v", name, back)
		}
	}
}

// TestRoomForConditions: if a status has more conditions than the API server takes, those of other
// controllers give way, the last first, and Tulle's own are there.
func TestRoomForConditions(t *testing.T) {
	var old []metav1.Condition
	for i := range maxConditions {
		old = append(old, metav1.Condition{Type: fmt.Sprintf("their.example/%d", i), Status: metav1.ConditionTrue})
	}
	old[3].Type = "tulle.dev/Deployed"
	gw := Gateway(gwapiv1.GatewayStatus{Conditions: old}, GatewayVerdict{
		GatewayVerdict: gatewayapi.GatewayVerdict{Conditions: conditions(metav1.ConditionTrue, "Accepted", "ResolvedRefs")},
	}, Outcome{})
	want := []string{"their.example/0", "their.example/1", "their.example/2", "tulle.dev/Deployed", "their.example/4", "Accepted", "ResolvedRefs", "Programmed"}
	if d := cmp.Diff(want, typesOf(gw.Conditions)); d != "" {
		t.Errorf("Gateway: %s", d)
	}
	set := ListenerSet(gwapiv1.ListenerSetStatus{Conditions: old}, ListenerSetVerdict{
		ListenerSetVerdict: gatewayapi.ListenerSetVerdict{Accepted: metav1.Condition{Type: "Accepted", Status: metav1.ConditionTrue}},
	}, Outcome{})
	if got := typesOf(set.Conditions); len(got) != maxConditions || got[len(got)-2] != "Accepted" || got[len(got)-1] != "Programmed" {
		t.Errorf("ListenerSet: %v", got)
	}
}
