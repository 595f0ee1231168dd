// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/names"
)

// one is the key of collections with a single entry.
type one struct{}

// inputs are what the graph is computed from.
type inputs struct {
	settings     *incr.Collection[one, model.Settings]
	roots        *incr.Collection[one, string] // PEM
	clock        *incr.Collection[one, time.Time]
	declared     *incr.Collection[model.Key, model.Service] // with the ports of the objects
	services     *incr.Collection[model.Key, model.Service] // with the ports that are served, derived: see buildPorts
	slices       *incr.Collection[model.Key, model.Slice]
	workloads    *incr.Collection[model.Key, model.Workload]
	namespaces   *incr.Collection[string, model.Namespace]
	secrets      *incr.Collection[model.Key, source.TLS]
	classes      *incr.Collection[string, *gwapiv1.GatewayClass]
	gateways     *incr.Collection[model.Key, *gwapiv1.Gateway]
	listenerSets *incr.Collection[model.Key, *gwapiv1.ListenerSet]
	routes       *incr.Collection[model.Object, *gatewayapi.Route]
	grants       *incr.Collection[model.Key, *gwapiv1.ReferenceGrant]
	bundles      *incr.Collection[model.Key, source.CABundle]
	policies     *incr.Collection[model.Object, *policy.Policy]
	asked        *incr.Collection[names.Target, one]      // what clients without a proxy ask for
	dialled      *incr.Collection[netip.AddrPort, answer] // addresses without a listener that proxies ask for
}

// indexes are how the graph finds inputs by what they refer to.
type indexes struct {
	slicesByService  *incr.Index[model.Key, model.Key, model.Slice]
	serviceByGateway *incr.Index[model.Key, model.Key, model.Service]
	meshedNamespaces *incr.Index[string, string, model.Namespace] // by name
	setsByGateway    *incr.Index[model.Key, model.Key, *gwapiv1.ListenerSet]
	routesByService  *incr.Index[ofObject, model.Object, *gatewayapi.Route]
	routesByBackend  *incr.Index[ofPort, model.Object, *gatewayapi.Route]
	grantsByFrom     *incr.Index[gatewayapi.GrantFrom, model.Key, *gwapiv1.ReferenceGrant]
	policiesByTarget *incr.Index[ofObject, model.Object, *policy.Policy]
}

// ofObject and ofPort are how routes and policies are found: what asks for one kind does not depend on the others.
type (
	ofObject = gatewayapi.OfKind[model.Object]
	ofPort   = gatewayapi.OfKind[model.PortKey]
)

// same compares values of the model.
func same[V any](a, b V) bool { return reflect.DeepEqual(a, b) }

// sameSpec compares API objects by what their author wrote: a new status is no change.
func sameSpec[T metav1.Object](a, b T) bool {
	return a.GetUID() == b.GetUID() && a.GetGeneration() == b.GetGeneration()
}

func newInputs(e *incr.Engine) inputs {
	return inputs{
		settings:     incr.NewInput[one](e, "settings", same[model.Settings]),
		roots:        incr.NewInput[one](e, "roots", same[string]),
		clock:        incr.NewInput[one](e, "clock", time.Time.Equal),
		declared:     incr.NewInput[model.Key](e, "services", same[model.Service]),
		slices:       incr.NewInput[model.Key](e, "slices", same[model.Slice]),
		workloads:    incr.NewInput[model.Key](e, "workloads", same[model.Workload]),
		namespaces:   incr.NewInput[string](e, "namespaces", same[model.Namespace]),
		secrets:      incr.NewInput[model.Key](e, "secrets", same[source.TLS]),
		classes:      incr.NewInput[string](e, "gateway classes", sameSpec[*gwapiv1.GatewayClass]),
		gateways:     incr.NewInput[model.Key](e, "gateways", sameSpec[*gwapiv1.Gateway]),
		listenerSets: incr.NewInput[model.Key](e, "listener sets", sameSpec[*gwapiv1.ListenerSet]),
		routes:       incr.NewInput[model.Object](e, "routes", (*gatewayapi.Route).Same),
		grants:       incr.NewInput[model.Key](e, "reference grants", sameSpec[*gwapiv1.ReferenceGrant]),
		bundles:      incr.NewInput[model.Key](e, "ca bundles", same[source.CABundle]),
		policies:     incr.NewInput[model.Object](e, "policies", (*policy.Policy).Same),
		asked:        incr.NewInput[names.Target](e, "asked", same[one]),
		dialled:      incr.NewInput[netip.AddrPort](e, "dialled", same[answer]),
	}
}

func newIndexes(in inputs) indexes {
	return indexes{
		slicesByService: incr.NewIndex(in.slices, byKey, func(_ model.Key, s model.Slice) []model.Key { return []model.Key{s.Service} }),
		serviceByGateway: incr.NewIndex(in.declared, byKey, func(k model.Key, s model.Service) []model.Key {
			if s.Gateway == "" {
				return nil
			}
			return []model.Key{{Namespace: k.Namespace, Name: s.Gateway}}
		}),
		meshedNamespaces: incr.NewIndex(in.namespaces, strings.Compare, func(name string, n model.Namespace) []string {
			if !n.Meshed {
				return nil
			}
			return []string{name}
		}),
		setsByGateway: incr.NewIndex(in.listenerSets, byKey, func(_ model.Key, s *gwapiv1.ListenerSet) []model.Key {
			if gw, ok := gatewayapi.ListenerSetGateway(s); ok {
				return []model.Key{gw}
			}
			return nil
		}),
		routesByService: incr.NewIndex(in.routes, byObject, func(_ model.Object, r *gatewayapi.Route) []ofObject {
			return slices.DeleteFunc(r.Parents(), func(on ofObject) bool { return on.To.Kind != gatewayapi.KindService })
		}),
		routesByBackend: incr.NewIndex(in.routes, byObject, func(_ model.Object, r *gatewayapi.Route) []ofPort { return r.Backends() }),
		grantsByFrom: incr.NewIndex(in.grants, byKey, func(_ model.Key, g *gwapiv1.ReferenceGrant) []gatewayapi.GrantFrom {
			return gatewayapi.GrantedFrom(g)
		}),
		policiesByTarget: incr.NewIndex(in.policies, byObject, func(_ model.Object, p *policy.Policy) []ofObject { return p.Targets() }),
	}
}

// byObject orders objects.
func byObject(a, b model.Object) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// byKey orders namespaced keys.
func byKey(a, b model.Key) int {
	if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}
