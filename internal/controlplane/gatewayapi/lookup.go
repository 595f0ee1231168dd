// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// OfKind asks for the routes, or the policies, of a kind that refer to something. Without a kind it asks for routes of
// all kinds, which is for those on a Service.
type OfKind[T comparable] struct {
	Kind string
	To   T
}

// Lookup is all that this package may read of the cluster. Objects it returns are shared and are
// never changed here; lists may come in any order.
type Lookup interface {
	// Service returns the Service of that name.
	Service(model.Key) (model.Service, bool)
	// Namespace returns the namespace of that name; listeners select routes by its labels.
	Namespace(name string) (model.Namespace, bool)
	// Fronted reports whether proxies have listeners for the Service: its namespace is meshed, or a pod
	// behind it is.
	Fronted(service model.Key) bool
	// TLSSecret tells whether a Secret of type kubernetes.io/tls exists and what is wrong with it;
	// an empty problem means that certificate and key are usable together.
	TLSSecret(model.Key) (problem string, found bool)
	// Ended tells whether the certificate of a TLSSecret that is usable has ended, and on which day.
	Ended(model.Key) (day string, ended bool)
	// IssuerEnded tells the same of the certificates of its issuers in that Secret.
	IssuerEnded(model.Key) (day string, ended bool)
	Granter
	// Gateway returns the Gateway of that name, of whatever class.
	Gateway(model.Key) (*gwapiv1.Gateway, bool)
	// Listeners returns ReadListeners of the Gateway.
	Listeners(gateway model.Key) Listeners
	// Served returns ReadServed of the Gateway.
	Served(gateway model.Key) Served
	// ListenerSets returns the ListenerSets that name a Gateway: those for which ListenerSetGateway is it.
	ListenerSets(gateway model.Key) []*gwapiv1.ListenerSet
	// ListenerSet returns the ListenerSet of that name, whatever it names.
	ListenerSet(model.Key) (*gwapiv1.ListenerSet, bool)
	// OurClass tells whether Gateways of that class are ours, by the class's controller name.
	OurClass(name string) bool
	// Routes returns the routes with a parentRef to a Service: those for which Parents contains it. The caller may change
	// the list.
	Routes(OfKind[model.Object]) []*Route
	// Candidates returns Route.Candidate of the routes of a kind with a parentRef to a Gateway or ListenerSet: those for
	// which Candidate.Parents contains it. The caller may change the list.
	Candidates(OfKind[model.Object]) []*Candidate
	// Precedence returns what ReadPrecedence of a parent has for a route; the zero value if it has nothing.
	Precedence(parent, route model.Object) Precedence
	// Takers returns the routes that take connections of a listener: those for which Precedence.Taking contains it.
	// The caller may change the list.
	Takers(On) []Taker
	// MeshRoutes returns ReadMeshRoutes of the Service.
	MeshRoutes(service model.Key) MeshRoutes
	// MeshRivals returns MeshRoutes.Rivals of the Service for one route. A verdict that reads it does not depend on
	// the other routes of the Service.
	MeshRivals(service model.Key, route model.Object) []MeshRival
	// MeshSharing returns MeshRoutes.Sharing of the Service.
	MeshSharing(service model.Key) map[uint16][]string
	// MeshPart returns ReadMeshPart of the route.
	MeshPart(*Route) *MeshPart
	// Protocol returns PortProtocol of a TCP port of a Service; ok is false if it does not exist.
	Protocol(model.PortKey) (p model.Protocol, ok bool)
	// ExcessRoutes returns ReadExcessRoutes of the Service.
	ExcessRoutes(service model.Key) map[model.Object]bool
	// ExcessExpressions reports whether a route is beyond what the expressions of its namespace may take at a Gateway: whether
	// ReadExcessExpressions of what ReadExpressions has for all routes of that namespace at the Gateway contains it.
	ExcessExpressions(gateway model.Key, route model.Object) bool
	// Attached counts the routes, of every kind, that are attached to a listener: those with it in
	// RouteOn.
	Attached(On) int
	// CABundle tells whether a ConfigMap with the key ca.crt exists and what is wrong with its
	// certificates; an empty problem means that they are usable.
	CABundle(model.Key) (problem string, found bool)
	// BackendTLS reports whether proxies begin TLS with the endpoints of a Service's TCP port of that name, because a
	// policy says so, whether it can be carried out or not.
	BackendTLS(service model.Key, port string) bool
	// Senders returns the routes of a kind, of every namespace, that send to a Service port: those for which Backends
	// contains it.
	Senders(OfKind[model.PortKey]) []*Route
	// SentTo returns ReadSentTo.
	SentTo(OfKind[model.PortKey]) bool
}

// Kinds of objects in model.Object.
const (
	KindService     = "Service"
	KindGateway     = "Gateway"
	KindListenerSet = "ListenerSet"
)

// RouteParent is the status of a route on one of its parents that is ours: a Service, or a Gateway
// of one of our classes. Times are zero and Programmed is left to the status writer.
type RouteParent struct {
	gwapiv1.RouteParentStatus
	// Tables are the names of the RouteTables, or StreamTables, that carry the route's rules for this parent, sorted:
	// none where the route is not accepted, or is, but on a listener that is not valid. A table of an
	// HTTPS listener without usable certificate is named but in no GatewayPort.
	Tables []string
	// Idle tells that none of the Gateway's listeners that the route is attached to is served.
	Idle bool `json:",omitempty"`
	// Unserved names those that are not served and says why; empty if all are.
	Unserved string `json:",omitempty"`
}

// GatewayVerdict is the status of a Gateway as far as it follows from the objects alone. Times are
// zero; Programmed and addresses are left to the status writer.
type GatewayVerdict struct {
	// Conditions are Accepted and ResolvedRefs, and InsecureFrontendValidationMode where it is true.
	Conditions []metav1.Condition
	// Listeners are in the order of the spec, each with Accepted, ResolvedRefs and Conflicted,
	// and OverlappingTLSConfig where it is true.
	Listeners []gwapiv1.ListenerStatus
	// Serving are the names of the listeners that proxies are given, in the order of the spec.
	Serving []string
	// ListenerSets is how many are attached and accepted; nil where the Gateway lets none attach.
	ListenerSets *int32 `json:",omitempty"`
	// Wanted are the addresses that the Gateway asks for.
	Wanted []gwapiv1.GatewaySpecAddress
}
