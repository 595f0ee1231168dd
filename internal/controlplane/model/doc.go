// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package model is the cluster as the mesh sees it, with references resolved:
// services, endpoints, workloads, frontends, backends, routes, gateways.
//
//	Kubernetes objects -> source -> model inputs (Service, Slice, Workload, ...)
//	model inputs + Gateway API objects -> gatewayapi -> Frontend, RouteTable, Gateway, ...
//	model -> envoy -> protobuf
//
// Values are immutable once made, hold no maps (so that they encode the same
// everywhere) and are compared as values. Standard library only: neither
// Kubernetes nor Envoy is known here. Invariant: equal values have equal Hash.
package model
