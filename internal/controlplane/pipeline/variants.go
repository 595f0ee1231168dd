// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"slices"
	"strings"

	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// buildVariantScopes says what the clients of a namespace with consumer routes, and those on a node, use in
// place of what all others have. The listener of a Service's port has one name for all of them, so that
// none is replaced when there is the first or no variant any more: see protocol.Variants. Agents that do not
// know variants have a listener of its own for each: Scope.Instead is what tells the two.
func (g *Graph) buildVariantScopes(consumers *incr.Collection[string, string]) *incr.Collection[string, model.Scope] {
	s := &g.services
	nodes := incr.DeriveKeys(&g.engine, "nodes with variants", same[string],
		func(_ *incr.Reader, node string, emit func(string, string)) { emit(node, node) }, s.frontendsByNode)
	return incr.DeriveKeys(&g.engine, "variant scopes", same[model.Scope],
		func(r *incr.Reader, scope string, emit func(string, model.Scope)) {
			sc := model.Scope{Name: scope, Variants: &model.Variants{Listeners: map[string]string{}, Routes: map[string]string{}}}
			of := s.frontendsByConsumer
			who, ok := strings.CutPrefix(scope, names.ScopeConsumer(""))
			if !ok {
				of, who = s.frontendsByNode, strings.TrimPrefix(scope, names.ScopeNode(""))
			}
			incr.Lookup(r, of, who, func(name string, f model.Frontend) {
				g.addBackends(r, &sc, name, f)
				own := baseOf(f)
				if _, ok := g.sharedBy(r, f); ok {
					sc.Variants.Listeners[own], sc.Variants.Routes[own] = sharedName(f), name
				} else {
					sc.Variants.Listeners[own] = name
				}
			})
			emit(scope, tidy(sc))
		},
		incr.NewIndex(consumers, strings.Compare, func(ns, _ string) []string { return []string{names.ScopeConsumer(ns)} }),
		incr.NewIndex(nodes, strings.Compare, func(node, _ string) []string { return []string{names.ScopeNode(node)} }))
}

// buildSharedListeners makes the listeners of variants whose requests are only routed differently.
func (g *Graph) buildSharedListeners() *incr.Collection[string, sharedListener] {
	return incr.Derive(&g.engine, "shared listeners", g.services.frontends, same[sharedListener],
		func(r *incr.Reader, _ string, f model.Frontend, emit func(string, sharedListener)) {
			if base, ok := g.sharedBy(r, f); ok {
				name := sharedName(f)
				emit(name, sharedListener{name, base})
			}
		})
}

// sharedListener is a listener under the name that it has for agents of a variant.
type sharedListener struct {
	Name string
	model.Frontend
}

// sharedBy is the frontend that all other clients have, if the listener of the variant f is the same: only
// the routes that it names may differ.
func (g *Graph) sharedBy(r *incr.Reader, f model.Frontend) (model.Frontend, bool) {
	if f.Node == "" && f.Consumer == "" || !f.Protocol.IsHTTP() {
		return model.Frontend{}, false
	}
	base, ok := incr.Get(r, g.services.frontends, baseOf(f))
	return base, ok && base.Protocol.IsHTTP()
}

// baseOf is the name of the frontend of which f is a variant.
func baseOf(f model.Frontend) string {
	return names.Out{Namespace: f.Key.Service.Namespace, Service: f.Key.Service.Name, Port: f.Key.Port}.String()
}

func sharedName(f model.Frontend) string {
	return names.Out{
		Namespace: f.Key.Service.Namespace, Service: f.Key.Service.Name, Port: f.Key.Port,
		As: names.AsShared, Node: f.Node, Consumer: f.Consumer,
	}.String()
}

// insteadOf is what a sidecar's scope is for an agent that knows variants; nil: the same, since none of the
// scopes of variants exists.
func insteadOf(sc model.Scope, exists func(scope string) bool, variants ...string) *model.Scope {
	out := &model.Scope{Include: []string{names.ScopeMesh}, Clusters: sc.Clusters, Listeners: sc.Listeners}
	for _, v := range variants {
		if exists(v) {
			out.Include = append(out.Include, v)
		}
	}
	if len(out.Include) == 1 {
		return nil
	}
	out.Clusters, out.Listeners = slices.Clone(out.Clusters), slices.Clone(out.Listeners)
	slices.Sort(out.Listeners)
	return out
}
