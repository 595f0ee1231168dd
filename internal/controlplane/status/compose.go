// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/names"
)

// ConditionProgrammed is Tulle's own condition on each parent of a route: true only when every
// connected proxy that needs the route has acknowledged it. Gateway API has no such condition for routes.
const ConditionProgrammed = "tulle.dev/Programmed"

// Parents returns a route's status.parents with ours replaced by what the verdict says and others'
// left as they are. Times of conditions that did not change stay. outcome has one entry per parent of the verdict.
func Parents(old []gwapiv1.RouteParentStatus, v RouteVerdict, outcome []Outcome) []gwapiv1.RouteParentStatus {
	var out []gwapiv1.RouteParentStatus
	for _, p := range old {
		if p.ControllerName != names.ControllerName {
			out = append(out, p)
		}
	}
	for i, p := range v.Parents {
		want := p.RouteParentStatus
		want.ControllerName = names.ControllerName
		conditions := slices.Clone(want.Conditions)
		if accepted(conditions) {
			conditions = append(conditions, programmed(ConditionProgrammed, v.Generation, heard(p, outcome[i])))
		}
		want.Conditions = carryOver(conditions, conditionsOf(old, want.ParentRef))
		out = append(out, want)
	}
	return out
}

// unservedMark begins what is added to the outcome of a route that some of its listeners do not serve.
const unservedMark = "; but "

// heard is the outcome of a route on a parent as far as there are listeners for it: proxies that are not
// given a listener have nothing to acknowledge.
func heard(p gatewayapi.RouteParent, o Outcome) Outcome {
	switch {
	case p.Idle:
		return Outcome{Reason: ReasonListenerNotServed, Message: p.Unserved}
	case p.Unserved != "" && o.Programmed:
		o.Message += unservedMark + p.Unserved
	}
	return o
}

func accepted(cs []metav1.Condition) bool {
	return apimeta.IsStatusConditionTrue(cs, string(gwapiv1.RouteConditionAccepted))
}

func conditionsOf(parents []gwapiv1.RouteParentStatus, ref gwapiv1.ParentReference) []metav1.Condition {
	for _, p := range parents {
		if p.ControllerName == names.ControllerName && equality.Semantic.DeepEqual(p.ParentRef, ref) {
			return p.Conditions
		}
	}
	return nil
}

func programmed(kind string, generation int64, o Outcome) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, ObservedGeneration: generation, Reason: o.Reason, Message: o.Message}
	if o.Programmed {
		c.Status = metav1.ConditionTrue
	}
	return c
}

// maxConditions is how many a Gateway, a listener or a parent of a route may have.
const maxConditions = 8

// carryOver is keepTimes, and keeps the conditions of other controllers, whose types Tulle does not write,
// as far as there is room.
func carryOver(want, old []metav1.Condition) []metav1.Condition {
	want = keepTimes(want, old)
	for _, o := range old {
		if len(want) < maxConditions && !writes(o.Type) {
			want = append(want, o)
		}
	}
	return want
}

// withRoom drops the last conditions of other controllers if there are more than the API server takes: it
// would refuse the whole status, and Tulle's own conditions would stay as they were for ever.
func withRoom(all []metav1.Condition) []metav1.Condition {
	for i := len(all) - 1; i >= 0 && len(all) > maxConditions; i-- {
		if !writes(all[i].Type) && !strings.HasPrefix(all[i].Type, "tulle.dev/") {
			all = slices.Delete(all, i, i+1)
		}
	}
	return all
}

// keepTimes gives each condition the time of its last change of status.
func keepTimes(want, old []metav1.Condition) []metav1.Condition {
	for i := range want {
		want[i].LastTransitionTime = metav1.Now()
		if o := apimeta.FindStatusCondition(old, want[i].Type); o != nil && o.Status == want[i].Status {
			want[i].LastTransitionTime = o.LastTransitionTime
		}
	}
	return want
}

// writes tells whether conditions of a type are Tulle's to write, on whatever object.
func writes(kind string) bool {
	switch kind {
	case ConditionProgrammed, string(gwapiv1.ListenerConditionAccepted), string(gwapiv1.ListenerConditionProgrammed),
		string(gwapiv1.ListenerConditionResolvedRefs), string(gwapiv1.ListenerConditionConflicted),
		string(gwapiv1.ListenerConditionOverlappingTLSConfig), string(gwapiv1.RouteConditionPartiallyInvalid),
		string(gwapiv1.GatewayConditionAddressesAssigned):
		return true
	}
	return false
}

// Gateway returns a Gateway's status as the verdict and the proxies have it. Conditions of others stay.
func Gateway(old gwapiv1.GatewayStatus, v GatewayVerdict, o Outcome) gwapiv1.GatewayStatus {
	out := *old.DeepCopy()
	state := gatewayProgrammed(v, o)
	conditions := append(slices.Clone(v.Conditions), programmed(string(gwapiv1.GatewayConditionProgrammed), v.Generation, state))
	addresses := assign(v)
	if c, known := addresses.condition(v); known && accepted(v.Conditions) {
		conditions = append(conditions, c)
	} else {
		apimeta.RemoveStatusCondition(&out.Conditions, string(gwapiv1.GatewayConditionAddressesAssigned))
	}
	for _, c := range conditions {
		apimeta.SetStatusCondition(&out.Conditions, c)
	}
	out.Conditions = withRoom(out.Conditions)
	out.AttachedListenerSets = v.ListenerSets
	// A warning that holds no more is removed (GatewayConditionInsecureFrontendValidationMode).
	if insecure := string(gwapiv1.GatewayConditionInsecureFrontendValidationMode); apimeta.FindStatusCondition(v.Conditions, insecure) == nil {
		apimeta.RemoveStatusCondition(&out.Conditions, insecure)
	}
	out.Addresses = addresses.have
	out.Listeners = nil
	for _, l := range v.Listeners {
		l = *l.DeepCopy()
		ls := listenerState(state)
		if !slices.Contains(v.Serving, string(l.Name)) {
			ls = Outcome{Reason: string(gwapiv1.ListenerReasonInvalid), Message: "the listener is not served; its other conditions say why"}
		}
		l.Conditions = append(l.Conditions, programmed(string(gwapiv1.ListenerConditionProgrammed), v.Generation, ls))
		var before []metav1.Condition
		if i := slices.IndexFunc(old.Listeners, func(x gwapiv1.ListenerStatus) bool { return x.Name == l.Name }); i >= 0 {
			before = old.Listeners[i].Conditions
		}
		l.Conditions = carryOver(l.Conditions, before)
		out.Listeners = append(out.Listeners, l)
	}
	return out
}

// maxAddresses is how many a Gateway's status may have (GatewayStatus.addresses).
const maxAddresses = 16

// listenerState is the state of a Gateway as its served listeners tell it: that addresses are missing is
// not their reason, and the Gateway says it once.
func listenerState(o Outcome) Outcome {
	if o.Reason == string(gwapiv1.GatewayReasonAddressNotAssigned) || o.Reason == string(gwapiv1.GatewayReasonAddressNotUsable) {
		return Outcome{Reason: string(gwapiv1.ListenerReasonPending), Message: "the Gateway does not have its addresses; see condition Programmed of the Gateway"}
	}
	return o
}

// gatewayProgrammed puts Gateway API's reasons on the outcome: a Gateway without a proxy or an
// address serves nobody, unlike a route without proxies.
func gatewayProgrammed(v GatewayVerdict, o Outcome) Outcome {
	switch {
	case !apimeta.IsStatusConditionTrue(v.Conditions, string(gwapiv1.GatewayConditionAccepted)):
		return Outcome{Reason: string(gwapiv1.GatewayReasonInvalid), Message: "the Gateway is not accepted; condition Accepted says why"}
	case len(v.Serving) == 0:
		return Outcome{Reason: string(gwapiv1.GatewayReasonInvalid), Message: "no listener is valid; the listeners' conditions say why"}
	}
	if o, ok := unmet(v); ok {
		return o
	}
	a := assign(v)
	switch {
	case len(a.have) == 0 && len(a.missing) > 0 && len(v.Addresses)+len(v.ClusterAddresses) > 0:
		return Outcome{Reason: string(gwapiv1.GatewayReasonAddressNotAssigned), Message: "the Gateway has none of the addresses that it asks for: " + few(a.missing) + "; " + offers(v)}
	case len(a.have) == 0:
		return Outcome{Reason: string(gwapiv1.GatewayReasonAddressNotAssigned), Message: "the Gateway has no address yet; see condition tulle.dev/Deployed"}
	case o.Reason == ReasonNoProxies:
		return Outcome{Reason: string(gwapiv1.GatewayReasonPending), Message: "no proxy of this Gateway has connected yet; see condition tulle.dev/Deployed"}
	case o.Programmed:
		o.Reason = string(gwapiv1.GatewayReasonProgrammed)
	case o.Reason == ReasonRejected:
		o.Reason = string(gwapiv1.GatewayReasonInvalid)
	default:
		o.Reason = string(gwapiv1.GatewayReasonPending)
	}
	return o
}

// previous reads back the outcome that is written on a parent, so that a new leader neither forgets
// nor flaps: what was programmed in this generation still is.
func previous(c *metav1.Condition, need Requirement) Outcome {
	if c == nil || c.ObservedGeneration != need.Generation || c.Status != metav1.ConditionTrue {
		return Outcome{}
	}
	message, _, _ := strings.Cut(c.Message, unservedMark)
	return Outcome{Programmed: true, Reason: c.Reason, Message: message, Settled: need.Config}
}
