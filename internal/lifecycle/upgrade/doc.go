// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package upgrade decides how a change of the version goes on: which phase it
// is in, which control planes run and which of them serves, and which pods'
// proxies are replaced now.
//
// It is pure and remembers nothing but Mesh status.upgrade, which it is given
// and gives back: the operator may crash at any point. The slots of a pod are
// replaced by one patch (slot.go): the image of the standby and the order to
// it. Whether that went well is seen in the pods' annotations and in the
// reports of the agents.
//
//	pod.go       a pod that carries a proxy; the workloads
//	observe.go   what is kept of a pod of the API server
//	slot.go      what to do next with one pod
//	waves.go     who is replaced when
//	gateways.go  the Deployments of Gateways, and how long they are waited for
//	next.go      the phases; start here
//
// Invariants: a slot that serves, or that still has connections, never gets
// another image; no wave begins before the gates of the one before were
// judged; what serves is never more than one minor release from any proxy.
package upgrade
