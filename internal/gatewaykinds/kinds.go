// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewaykinds

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Object is an object of the API server, as clients take it.
type Object interface {
	metav1.Object
	runtime.Object
}

// List is a list of objects, as clients take it.
type List interface {
	metav1.ListInterface
	runtime.Object
}

// Kind is a kind of routes or policies.
type Kind struct {
	// Name is the kind, Plural the resource, and Group and Version are those that are read.
	Name, Plural, Group, Version string
	// Required kinds are in every cluster that Tulle runs in.
	Required bool
	// New returns an empty object, NewList an empty list.
	New     func() Object
	NewList func() List
	// RouteStatus returns the status of an object of a kind of routes; nil for policies.
	RouteStatus func(Object) *gwapiv1.RouteStatus
	// PolicyStatus returns the status of an object of a kind of policies; nil for routes.
	PolicyStatus func(Object) *gwapiv1.PolicyStatus
}

// Definition is the name of the kind's CustomResourceDefinition.
func (k Kind) Definition() string { return k.Plural + "." + k.Group }

// ClearStatus empties the status of an object of the kind.
func (k Kind) ClearStatus(o Object) {
	if k.RouteStatus != nil {
		*k.RouteStatus(o) = gwapiv1.RouteStatus{}
		return
	}
	*k.PolicyStatus(o) = gwapiv1.PolicyStatus{}
}

// Routes are the kinds of routes.
func Routes() []Kind {
	return []Kind{
		required(route("HTTPRoute", "httproutes", &gwapiv1.HTTPRouteList{}, func(r *gwapiv1.HTTPRoute) *gwapiv1.RouteStatus { return &r.Status.RouteStatus })),
		required(route("GRPCRoute", "grpcroutes", &gwapiv1.GRPCRouteList{}, func(r *gwapiv1.GRPCRoute) *gwapiv1.RouteStatus { return &r.Status.RouteStatus })),
		route("TLSRoute", "tlsroutes", &gwapiv1.TLSRouteList{}, func(r *gwapiv1.TLSRoute) *gwapiv1.RouteStatus { return &r.Status.RouteStatus }),
		route("TCPRoute", "tcproutes", &gwapiv1.TCPRouteList{}, func(r *gwapiv1.TCPRoute) *gwapiv1.RouteStatus { return &r.Status.RouteStatus }),
		route("UDPRoute", "udproutes", &gwapiv1.UDPRouteList{}, func(r *gwapiv1.UDPRoute) *gwapiv1.RouteStatus { return &r.Status.RouteStatus }),
	}
}

// Policies are the kinds of policies.
func Policies() []Kind {
	return []Kind{
		policy("BackendTLSPolicy", "backendtlspolicies", &gwapiv1.BackendTLSPolicyList{}, func(p *gwapiv1.BackendTLSPolicy) *gwapiv1.PolicyStatus { return &p.Status }),
	}
}

// All are the kinds of routes and policies.
func All() []Kind { return append(Routes(), Policies()...) }

// Find returns the kind of that name.
func Find(name string) (Kind, bool) {
	all := All()
	i := slices.IndexFunc(all, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return all[i], true
}

func required(k Kind) Kind {
	k.Required = true
	return k
}

func route[T any, P pointer[T]](name, plural string, list List, status func(P) *gwapiv1.RouteStatus) Kind {
	k := kind[T, P](name, plural, list)
	k.RouteStatus = func(o Object) *gwapiv1.RouteStatus { return status(o.(P)) }
	return k
}

func policy[T any, P pointer[T]](name, plural string, list List, status func(P) *gwapiv1.PolicyStatus) Kind {
	k := kind[T, P](name, plural, list)
	k.PolicyStatus = func(o Object) *gwapiv1.PolicyStatus { return status(o.(P)) }
	return k
}

// pointer is a pointer to a type whose pointers are objects.
type pointer[T any] interface {
	*T
	Object
}

func kind[T any, P pointer[T]](name, plural string, list List) Kind {
	return Kind{
		Name: name, Plural: plural, Group: gwapiv1.GroupName, Version: gwapiv1.GroupVersion.Version,
		New:     func() Object { return P(new(T)) },
		NewList: func() List { return list.DeepCopyObject().(List) },
	}
}
