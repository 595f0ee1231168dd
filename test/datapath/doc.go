// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package datapath measures what the mesh costs on the way of a request: CPU
// time per request of the two sidecars, and latency, against the same pods
// without proxies, in one run on the cluster of KUBECONFIG. It also reads what
// a proxy weighs when idle. make bench-datapath prints the tables.
//
// CPU time comes from the kubelet's own counters (stats/summary), so that it
// needs nothing in the pods. What it can't tell apart, the agent, Envoy and
// slot of one container, test/dataplane TestMemory does.
package datapath
