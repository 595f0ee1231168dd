// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// RouteParents is the status of a route on those of its parents that are ours, in the order of its parentRefs.
func RouteParents(l Lookup, r *Route) []RouteParent {
	var out []RouteParent
	known := map[bool][]Problem{} // the same for all Services, and for all Gateways
	references := func(mesh bool) []Problem {
		ps, ok := known[mesh]
		if !ok {
			ps = site{l: l, mesh: mesh}.references(r)
			known[mesh] = ps
		}
		return ps
	}
	for _, ref := range r.parents {
		to, ok := parentOf(r.source.Namespace, ref)
		switch {
		case !ok:
			if isMistakenService(ref) {
				text := `there is no such kind: a Service is in the core group, write group: ""`
				out = append(out, r.on(ref, Finding{false, string(gwapiv1.RouteReasonNoMatchingParent), text}, nil, nil))
			}
		case to.Kind == KindService:
			f, tables := attachToService(l, r, ref, model.Key{Namespace: to.Namespace, Name: to.Name})
			out = append(out, r.on(ref, f, tables, references(true)))
		default:
			if gw, ours := gatewayBehind(l, to); ours {
				f, tables, on := onGateway(l, r, ref, to, gw)
				p := r.on(ref, f, tables, references(false))
				if f.OK {
					p.Idle, p.Unserved = l.Served(keyOf(gw)).of(on, to.Kind+" "+to.Namespace+"/"+to.Name)
				}
				out = append(out, p)
			}
		}
	}
	return out
}

// gatewayBehind is the Gateway of ours that a parent is, or that it is a ListenerSet of.
func gatewayBehind(l Lookup, parent model.Object) (*gwapiv1.Gateway, bool) {
	key := model.Key{Namespace: parent.Namespace, Name: parent.Name}
	if parent.Kind == KindListenerSet {
		set, ok := l.ListenerSet(key)
		if !ok {
			return nil, false
		}
		if key, ok = ListenerSetGateway(set); !ok {
			return nil, false
		}
	}
	return gatewayOf(l, key)
}

// isMistakenService: a parentRef of kind Service without group. No controller will ever answer it,
// since the CRD's default group has no such kind.
func isMistakenService(ref gwapiv1.ParentReference) bool {
	return or(ref.Kind, KindGateway) == KindService && or(ref.Group, gwapiv1.GroupName) == gwapiv1.GroupName
}

// on makes the status of a route on one parent.
func (r *Route) on(ref gwapiv1.ParentReference, accepted Finding, tables []string, refs []Problem) RouteParent {
	resolved := Finding{true, string(gwapiv1.RouteReasonResolvedRefs), "All references are resolved"}
	if len(refs) > 0 {
		resolved = Finding{false, refs[0].Reason, Tell(refs)}
	}
	conditions := []metav1.Condition{
		accepted.Condition(string(gwapiv1.RouteConditionAccepted), r.generation),
		resolved.Condition(string(gwapiv1.RouteConditionResolvedRefs), r.generation),
	}
	if accepted.OK {
		if p, ok := r.partial(); ok {
			conditions = append(conditions, p.Condition(string(gwapiv1.RouteConditionPartiallyInvalid), r.generation))
		}
	}
	slices.Sort(tables)
	return RouteParent{
		RouteParentStatus: gwapiv1.RouteParentStatus{ParentRef: ref, ControllerName: names.ControllerName, Conditions: conditions},
		Tables:            slices.Compact(tables),
	}
}

// attachToService is the finding Accepted of a route on a Service, and the tables it goes into.
func attachToService(l Lookup, r *Route, ref gwapiv1.ParentReference, key model.Key) (Finding, []string) {
	no := func(format string, args ...any) (Finding, []string) {
		return Finding{false, string(gwapiv1.RouteReasonNoMatchingParent), fmt.Sprintf(format, args...)}, nil
	}
	if r.precedence == 0 {
		return no("a %s has no effect on a Service, since the mesh leaves UDP alone: only a Gateway can be its parent", r.source.Kind)
	}
	svc, ok := l.Service(key)
	if !ok {
		return no("Service %s does not exist", key)
	}
	if why := noFrontend(svc); why != "" {
		return no("Service %s %s: a route needs a Service with a cluster IP", key, why)
	}
	if !l.Fronted(key) {
		return no("Service %s is not part of the mesh, so no proxy routes to it: its namespace is not meshed and no pod behind it has a proxy; label namespace %s or the pods %s=%s",
			key, svc.Namespace, names.LabelInject, names.InjectEnabled)
	}
	var selected, fit []model.ServicePort
	for _, p := range svc.Ports {
		if selects(ref, p) {
			selected = append(selected, p)
			if carries(svc, p, r, ref) {
				fit = append(fit, p)
			}
		}
	}
	if len(selected) == 0 {
		return no("Service %s has no such TCP port; it has %s", key, PortList(svc))
	}
	if len(fit) == 0 {
		return no("port %s of Service %s does not speak HTTP by its number, name or appProtocol: where it does, name the port in parentRefs and leave its appProtocol empty or set it to http (kubernetes.io/h2c for gRPC)",
			PortList(model.Service{Ports: selected}), key)
	}
	if f := r.acceptance(); !f.OK {
		return f, nil
	}
	if l.ExcessRoutes(key)[r.source] {
		return tooLarge(r, svc), nil
	}
	var tables []string
	var winner, first *Route
	rivals := l.MeshRivals(key, r.source)
	var sharing map[uint16][]string
	if r.source.Namespace == svc.Namespace {
		sharing = l.MeshSharing(key)
	}
	for _, p := range fit {
		switch by, beaten := rivalOn(rivals, p.Port); {
		case !beaten:
			tables = append(tables, tablesOn(svc, p.Port, r.source.Namespace, sharing)...)
		case by.source.Kind != r.source.Kind:
			winner = by
		default:
			first = by
		}
	}
	if len(tables) == 0 && first != nil {
		return left(first), nil
	}
	if len(tables) == 0 {
		return conflicted(winner, fmt.Sprintf("Service %s", key)), nil
	}
	return r.acceptance(), tables
}

func conflicted(winner *Route, where string) Finding { return conflictedWith(winner.source, where) }

// conflictedWith is conflicted.
func conflictedWith(winner model.Object, where string) Finding {
	return Finding{false, reasonConflicted, fmt.Sprintf("%s %s/%s decides over %s: routes of different kinds are not merged",
		winner.Kind, winner.Namespace, winner.Name, where)}
}

// onGateway is the finding Accepted of a route on a Gateway or one of its ListenerSets, the tables it goes
// into, and the listeners that it is attached to.
func onGateway(l Lookup, r *Route, ref gwapiv1.ParentReference, parent model.Object, gw *gwapiv1.Gateway) (Finding, []string, []*listener) {
	name := parent.Kind + " " + parent.Namespace + "/" + parent.Name
	ls := listenersAt(l, gw, parent)
	no := func(reason gwapiv1.RouteConditionReason, format string, args ...any) (Finding, []string, []*listener) {
		return Finding{false, string(reason), fmt.Sprintf(format, args...)}, nil, nil
	}
	var selected, allowed, fit []*listener
	for _, li := range ls {
		if !li.selectedBy(ref) {
			continue
		}
		selected = append(selected, li)
		if !li.allows(l, &r.head) {
			continue
		}
		allowed = append(allowed, li)
		if len(li.hostsOf(&r.head)) > 0 {
			fit = append(fit, li)
		}
	}
	switch {
	case len(ls) == 0 && parent.Kind == KindListenerSet:
		return no(gwapiv1.RouteReasonNotAllowedByListeners, "%s is not attached to Gateway %s/%s: see its condition Accepted", name, gw.Namespace, gw.Name)
	case len(selected) == 0:
		var all []string
		for _, li := range ls {
			all = append(all, fmt.Sprintf("%s (%d)", li.name, li.port))
		}
		return no(gwapiv1.RouteReasonNoMatchingParent, "%s has no such listener; it has %s", name, list(all))
	case len(allowed) == 0:
		return no(gwapiv1.RouteReasonNotAllowedByListeners, "%s", disallowed(name, selected, r))
	case len(fit) == 0:
		return no(gwapiv1.RouteReasonNoMatchingListenerHostname, "no hostname of the route fits the hostname of a selected listener of %s", name)
	}
	if f := r.acceptance(); !f.OK {
		return f, nil, nil
	}
	if r.size.regexes > 0 && l.ExcessExpressions(keyOf(gw), r.source) {
		return tooManyExpressions(l, r, gw), nil, nil
	}
	var tables []string
	var on []*listener
	var winner, first *model.Object
	won, idle := false, false
	attached := attachmentsOf(l, r)
	for _, li := range fit {
		if w := attached.loses(li); w != nil {
			winner = w
			continue
		}
		won = true
		on = append(on, li)
		if r.IsOpaque() {
			if o, _ := attached.precedence(parent).at(li.id); !o.takes {
				idle = idle || li.usable()
				first = cmp.Or(first, o.by)
				continue
			}
		}
		if li.usable() && refusal(gw) == nil {
			tables = append(tables, li.table(gw))
		}
	}
	if !won {
		return conflictedWith(*winner, "the same hostname of "+name), nil, nil
	}
	if len(tables) == 0 && idle {
		return leftBy(first), nil, on
	}
	return r.acceptance(), tables, on
}
