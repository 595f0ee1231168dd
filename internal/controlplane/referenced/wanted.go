// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package referenced

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/names"
)

// Ref names a Secret (source.TLSSecret), a ConfigMap (source.CAConfigMap) or a source.ClusterTrustBundle.
type Ref struct {
	Kind source.Kind
	Key  model.Key
}

// owner is an object that refers to others.
type owner struct {
	kind source.Kind
	key  model.Key
}

// pair is a reference of an object.
type pair struct {
	owner owner
	ref   Ref
}

type one struct{}

// wanted finds out what is referred to and granted. It belongs to one goroutine.
type wanted struct {
	engine   incr.Engine
	classes  *incr.Collection[string, *gwapiv1.GatewayClass]
	gateways *incr.Collection[model.Key, *gwapiv1.Gateway]
	sets     *incr.Collection[model.Key, *gwapiv1.ListenerSet]
	grants   *incr.Collection[model.Key, *gwapiv1.ReferenceGrant]
	policies *incr.Collection[owner, *policy.Policy]
	granted  *incr.Collection[gatewayapi.GrantFrom, gatewayapi.Granted]
	pairs    []*incr.Collection[pair, one]
}

func newWanted(onFailure func(incr.Failure)) *wanted {
	w := &wanted{}
	w.engine.OnFailure = onFailure
	e := &w.engine
	w.classes = incr.NewInput[string](e, "gateway classes", sameSpec[*gwapiv1.GatewayClass])
	w.gateways = incr.NewInput[model.Key](e, "gateways", sameSpec[*gwapiv1.Gateway])
	w.sets = incr.NewInput[model.Key](e, "listener sets", sameSpec[*gwapiv1.ListenerSet])
	w.grants = incr.NewInput[model.Key](e, "reference grants", sameSpec[*gwapiv1.ReferenceGrant])
	w.policies = incr.NewInput[owner](e, "policies", (*policy.Policy).Same)
	grants := incr.NewIndex(w.grants, byKey, func(_ model.Key, g *gwapiv1.ReferenceGrant) []gatewayapi.GrantFrom { return gatewayapi.GrantedFrom(g) })
	w.granted = incr.DeriveKeys(e, "granted", gatewayapi.Granted.Same,
		func(r *incr.Reader, from gatewayapi.GrantFrom, emit func(gatewayapi.GrantFrom, gatewayapi.Granted)) {
			var all []*gwapiv1.ReferenceGrant
			incr.Lookup(r, grants, from, func(_ model.Key, g *gwapiv1.ReferenceGrant) { all = append(all, g) })
			emit(from, gatewayapi.ReadGranted(all))
		}, grants)
	same := func(one, one) bool { return true }
	w.pairs = []*incr.Collection[pair, one]{
		incr.Derive(e, "references of gateways", w.gateways, same,
			func(r *incr.Reader, k model.Key, gw *gwapiv1.Gateway, emit func(pair, one)) {
				if w.ours(r, gw) {
					emitAll(owner{source.Gateway, k}, gatewayapi.GatewayReferences(granter{w, r}, gw), emit)
				}
			}),
		incr.Derive(e, "references of listener sets", w.sets, same,
			func(r *incr.Reader, k model.Key, set *gwapiv1.ListenerSet, emit func(pair, one)) {
				of, ok := gatewayapi.ListenerSetGateway(set)
				if !ok {
					return
				}
				if gw, ok := incr.Get(r, w.gateways, of); ok && w.ours(r, gw) {
					emitAll(owner{source.ListenerSet, k}, gatewayapi.ListenerSetReferences(granter{w, r}, set), emit)
				}
			}),
		incr.Derive(e, "references of policies", w.policies, same,
			func(_ *incr.Reader, o owner, p *policy.Policy, emit func(pair, one)) {
				emitAll(o, p.References(), emit)
			}),
	}
	return w
}

// set notes an event, if it is of a kind that matters here.
func (w *wanted) set(e source.Event) {
	switch e.Kind {
	case source.GatewayClass:
		put(w.classes, e.Key.Name, e.Object)
	case source.Gateway:
		put(w.gateways, e.Key, e.Object)
	case source.ListenerSet:
		put(w.sets, e.Key, e.Object)
	case source.ReferenceGrant:
		put(w.grants, e.Key, e.Object)
	default:
		if k, ok := policy.KindOf(string(e.Kind)); ok {
			incr.Put(w.policies, owner{e.Kind, e.Key}, e.Object, k.Parse)
		}
	}
}

// commit returns the references that came and those that went with the events since the last commit, sorted.
func (w *wanted) commit() (came, went []pair) {
	w.engine.Commit(func() {
		for _, c := range w.pairs {
			for _, ch := range c.Changes() {
				if ch.Deleted {
					went = append(went, ch.Key)
				} else {
					came = append(came, ch.Key)
				}
			}
		}
	})
	slices.SortFunc(came, byPair)
	slices.SortFunc(went, byPair)
	return came, went
}

// ours reports whether a Gateway is of a class of this mesh, as the graph sees it: the operator's own class counts
// also while it does not exist.
func (w *wanted) ours(r *incr.Reader, gw *gwapiv1.Gateway) bool {
	name := string(gw.Spec.GatewayClassName)
	c, ok := incr.Get(r, w.classes, name)
	if !ok {
		return name == names.GatewayClass
	}
	return string(c.Spec.ControllerName) == names.ControllerName
}

// granter is gatewayapi.Granter over a recording reader.
type granter struct {
	w *wanted
	r *incr.Reader
}

func (g granter) Granted(from gatewayapi.GrantFrom) gatewayapi.Granted {
	v, _ := incr.Get(g.r, g.w.granted, from)
	return v
}

func emitAll(o owner, refs gatewayapi.References, emit func(pair, one)) {
	for _, k := range refs.Secrets {
		emit(pair{o, Ref{source.TLSSecret, k}}, one{})
	}
	for _, k := range refs.ConfigMaps {
		emit(pair{o, Ref{source.CAConfigMap, k}}, one{})
	}
	for _, k := range refs.TrustBundles {
		emit(pair{o, Ref{source.ClusterTrustBundle, k}}, one{})
	}
}

func put[K comparable, V any](c *incr.Collection[K, V], k K, object any) {
	incr.Put(c, k, object, func(o any) V { return o.(V) })
}

// sameSpec compares API objects by what their author wrote.
func sameSpec[T metav1.Object](a, b T) bool {
	return a.GetUID() == b.GetUID() && a.GetGeneration() == b.GetGeneration()
}

func byKey(a, b model.Key) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

func byRef(a, b Ref) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), byKey(a.Key, b.Key)) }

func byPair(a, b pair) int {
	return cmp.Or(cmp.Compare(a.owner.kind, b.owner.kind), byKey(a.owner.key, b.owner.key), byRef(a.ref, b.ref))
}
