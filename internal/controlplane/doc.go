// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package controlplane runs a replica of the control plane: it joins the
// parts below it and owns nothing but their wiring and their order of start.
//
//	source -> feed -> pipeline -> xds server -> agents
//	                     \-> status writer (leader, of the revision that serves)
//	ca: signing port; inject: webhook port; monitor: metrics, health, debug
//
// Nothing is served before every input has synced. Read run.go, then
// pipeline/graph.go.
package controlplane
