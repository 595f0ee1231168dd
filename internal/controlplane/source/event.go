// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// Kind is a kind of objects that Source delivers. What Event.Object holds stands beside each.
type Kind string

// Kinds, in the order in which the first batch holds them. Those of routes and policies are in gatewaykinds; their
// Event.Object is the object itself.
const (
	Mesh           Kind = "Mesh"           // *v1alpha1.Mesh
	Namespace      Kind = "Namespace"      // model.Namespace
	Service        Kind = "Service"        // model.Service
	EndpointSlice  Kind = "EndpointSlice"  // model.Slice
	Pod            Kind = "Pod"            // model.Workload
	GatewayClass   Kind = "GatewayClass"   // *gwapiv1.GatewayClass
	Gateway        Kind = "Gateway"        // *gwapiv1.Gateway
	ListenerSet    Kind = "ListenerSet"    // *gwapiv1.ListenerSet
	ReferenceGrant Kind = "ReferenceGrant" // *gwapiv1.ReferenceGrant

	Node Kind = "Node" // model.NodeZone
)

// Kinds that are read by name, one at a time, by Source.Read; they are in no batch of a Source.
const (
	TLSSecret   Kind = "Secret"    // TLS, for Secrets of type kubernetes.io/tls
	CAConfigMap Kind = "ConfigMap" // CABundle, for ConfigMaps with the key ca.crt

	ClusterTrustBundle Kind = "ClusterTrustBundle" // CABundle without a namespace; Kubernetes has the kind since 1.37
)

// Event says that an object is now this, or is gone.
type Event struct {
	Kind Kind
	// Key is the object's; Namespace is empty for cluster-scoped kinds.
	Key model.Key
	// Object is what the kind holds, shared and never to be changed; nil where the object is gone.
	Object any
}

// TLS is a Secret for TLS. An empty Problem means that certificate and key are usable together.
type TLS struct {
	model.TLSSecret
	Problem string
	// OtherType tells that the Problem is its type. Changes of such a Secret are not watched.
	OtherType bool
	// Ends is when the certificate does; zero where there is a Problem.
	Ends time.Time
	// IssuersEnd is when the first of its issuers' certificates in the chain does; zero if there are none.
	IssuersEnd time.Time
}

// Kinds are the kinds that a Source delivers, in the order in which the first batch holds them.
func Kinds() []Kind {
	var out []Kind
	for _, f := range feeds() {
		out = append(out, f.kind)
	}
	return out
}
