// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"net/netip"
	"reflect"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
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
	services     *incr.Collection[model.Key, model.Service]
	slices       *incr.Collection[model.Key, model.Slice]
	workloads    *incr.Collection[model.Key, model.Workload]
	namespaces   *incr.Collection[string, model.Namespace]
	secrets      *incr.Collection[model.Key, source.TLS]
	classes      *incr.Collection[string, *gwapiv1.GatewayClass]
	gateways     *incr.Collection[model.Key, *gwapiv1.Gateway]
	listenerSets *incr.Collection[model.Key, *gwapiv1.ListenerSet]
	httpRoutes   *incr.Collection[model.Key, *gwapiv1.HTTPRoute]
	grpcRoutes   *incr.Collection[model.Key, *gwapiv1.GRPCRoute]
	tlsRoutes    *incr.Collection[model.Key, *gwapiv1.TLSRoute]
	tcpRoutes    *incr.Collection[model.Key, *gwapiv1.TCPRoute]
	udpRoutes    *incr.Collection[model.Key, *gwapiv1.UDPRoute]
	grants       *incr.Collection[model.Key, *gwapiv1.ReferenceGrant]
	bundles      *incr.Collection[model.Key, source.CABundle]
	policies     *incr.Collection[model.Key, *gwapiv1.BackendTLSPolicy]
	asked        *incr.Collection[names.Target, one]   // what clients without a proxy ask for
	dialled      *incr.Collection[netip.AddrPort, one] // addresses without a listener that proxies ask for
}

// indexes are how the graph finds inputs by what they refer to.
type indexes struct {
	slicesByService  *incr.Index[model.Key, model.Key, model.Slice]
	serviceByGateway *incr.Index[model.Key, model.Key, model.Service]
	meshedNamespaces *incr.Index[string, string, model.Namespace] // by name
	setsByGateway    *incr.Index[model.Key, model.Key, *gwapiv1.ListenerSet]
	httpByParent     *incr.Index[model.Object, model.Key, *gwapiv1.HTTPRoute]
	grpcByParent     *incr.Index[model.Object, model.Key, *gwapiv1.GRPCRoute]
	httpByBackend    *incr.Index[model.PortKey, model.Key, *gwapiv1.HTTPRoute]
	grpcByBackend    *incr.Index[model.PortKey, model.Key, *gwapiv1.GRPCRoute]
	tlsByParent      *incr.Index[model.Object, model.Key, *gwapiv1.TLSRoute]
	tcpByParent      *incr.Index[model.Object, model.Key, *gwapiv1.TCPRoute]
	udpByParent      *incr.Index[model.Object, model.Key, *gwapiv1.UDPRoute]
	tlsByBackend     *incr.Index[model.PortKey, model.Key, *gwapiv1.TLSRoute]
	tcpByBackend     *incr.Index[model.PortKey, model.Key, *gwapiv1.TCPRoute]
	udpByBackend     *incr.Index[model.PortKey, model.Key, *gwapiv1.UDPRoute]
	grantsIn         *incr.Index[string, model.Key, *gwapiv1.ReferenceGrant]
	policiesByTarget *incr.Index[model.Key, model.Key, *gwapiv1.BackendTLSPolicy]
}

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
		services:     incr.NewInput[model.Key](e, "services", same[model.Service]),
		slices:       incr.NewInput[model.Key](e, "slices", same[model.Slice]),
		workloads:    incr.NewInput[model.Key](e, "workloads", same[model.Workload]),
		namespaces:   incr.NewInput[string](e, "namespaces", same[model.Namespace]),
		secrets:      incr.NewInput[model.Key](e, "secrets", same[source.TLS]),
		classes:      incr.NewInput[string](e, "gateway classes", sameSpec[*gwapiv1.GatewayClass]),
		gateways:     incr.NewInput[model.Key](e, "gateways", sameSpec[*gwapiv1.Gateway]),
		listenerSets: incr.NewInput[model.Key](e, "listener sets", sameSpec[*gwapiv1.ListenerSet]),
		httpRoutes:   incr.NewInput[model.Key](e, "http routes", sameSpec[*gwapiv1.HTTPRoute]),
		grpcRoutes:   incr.NewInput[model.Key](e, "grpc routes", sameSpec[*gwapiv1.GRPCRoute]),
		tlsRoutes:    incr.NewInput[model.Key](e, "tls routes", sameSpec[*gwapiv1.TLSRoute]),
		tcpRoutes:    incr.NewInput[model.Key](e, "tcp routes", sameSpec[*gwapiv1.TCPRoute]),
		udpRoutes:    incr.NewInput[model.Key](e, "udp routes", sameSpec[*gwapiv1.UDPRoute]),
		grants:       incr.NewInput[model.Key](e, "reference grants", sameSpec[*gwapiv1.ReferenceGrant]),
		bundles:      incr.NewInput[model.Key](e, "ca bundles", same[source.CABundle]),
		policies:     incr.NewInput[model.Key](e, "backend tls policies", sameSpec[*gwapiv1.BackendTLSPolicy]),
		asked:        incr.NewInput[names.Target](e, "asked", same[one]),
		dialled:      incr.NewInput[netip.AddrPort](e, "dialled", same[one]),
	}
}

func newIndexes(in inputs) indexes {
	return indexes{
		slicesByService: incr.NewIndex(in.slices, byKey, func(_ model.Key, s model.Slice) []model.Key { return []model.Key{s.Service} }),
		serviceByGateway: incr.NewIndex(in.services, byKey, func(k model.Key, s model.Service) []model.Key {
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
		httpByParent:  byParent(in.httpRoutes, func(r *gwapiv1.HTTPRoute) []gwapiv1.ParentReference { return r.Spec.ParentRefs }),
		grpcByParent:  byParent(in.grpcRoutes, func(r *gwapiv1.GRPCRoute) []gwapiv1.ParentReference { return r.Spec.ParentRefs }),
		httpByBackend: byBackend(in.httpRoutes, gatewayapi.HTTPRouteBackends),
		grpcByBackend: byBackend(in.grpcRoutes, gatewayapi.GRPCRouteBackends),
		tlsByParent:   byParent(in.tlsRoutes, func(r *gwapiv1.TLSRoute) []gwapiv1.ParentReference { return r.Spec.ParentRefs }),
		tcpByParent:   byParent(in.tcpRoutes, func(r *gwapiv1.TCPRoute) []gwapiv1.ParentReference { return r.Spec.ParentRefs }),
		udpByParent:   byParent(in.udpRoutes, func(r *gwapiv1.UDPRoute) []gwapiv1.ParentReference { return r.Spec.ParentRefs }),
		tlsByBackend:  byBackend(in.tlsRoutes, gatewayapi.TLSRouteBackends),
		tcpByBackend:  byBackend(in.tcpRoutes, gatewayapi.TCPRouteBackends),
		udpByBackend:  byBackend(in.udpRoutes, gatewayapi.UDPRouteBackends),
		grantsIn:      incr.NewIndex(in.grants, byKey, func(k model.Key, _ *gwapiv1.ReferenceGrant) []string { return []string{k.Namespace} }),
		policiesByTarget: incr.NewIndex(in.policies, byKey, func(_ model.Key, p *gwapiv1.BackendTLSPolicy) []model.Key {
			return gatewayapi.BackendTLSTargets(p)
		}),
	}
}

// byParent finds routes by the objects that they are attached to, byBackend by the ports they send to.
func byParent[R any](routes *incr.Collection[model.Key, R], refs func(R) []gwapiv1.ParentReference) *incr.Index[model.Object, model.Key, R] {
	return incr.NewIndex(routes, byKey, func(k model.Key, r R) []model.Object { return gatewayapi.Parents(k.Namespace, refs(r)) })
}

func byBackend[R any](routes *incr.Collection[model.Key, R], ports func(R) []model.PortKey) *incr.Index[model.PortKey, model.Key, R] {
	return incr.NewIndex(routes, byKey, func(_ model.Key, r R) []model.PortKey { return ports(r) })
}

// byKey orders namespaced keys.
func byKey(a, b model.Key) int {
	if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}
