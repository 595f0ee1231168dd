// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package gatewayclass writes the status of GatewayClasses and of XMeshes
// whose controllerName is Tulle's: whether they are accepted, and which
// features of the Gateway API work.
//
// Their specs belong to others and are never written here; the GatewayClass
// tulle and the XMesh tulle are made by the mesh controller. Start at Class
// and XMesh, the decisions.
package gatewayclass
