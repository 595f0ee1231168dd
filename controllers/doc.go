// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package controllers wires the operator: one package below it for each thing
// that is reconciled, each of them thin (observe, decide, apply, status).
//
//	mesh          Mesh -> certificates, control plane, webhook, classes
//	trust         namespace -> ConfigMap with the roots
//	gateway       Gateway -> proxies and Service
//	gatewayclass  status of GatewayClass and XMesh
//	kinds         starts watches on kinds once they are installed
//	active        which Mesh is the active one
//
// Tenants decide how many and how large their objects are: what is listed from the API server is read in pages
// (internal/pages), and cached.go says what the caches keep.
//
// What an object looks like and what comes next is decided in
// internal/lifecycle, which is pure. This half knows nothing of xDS and Envoy.
// Start at Setup.
package controllers
