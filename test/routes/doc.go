// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package routes measures what the mesh promises of changes to Gateways and
// HTTPRoutes, on the cluster of KUBECONFIG, from outside:
//
//	gateway_test.go   a new Gateway is Programmed soon after its pod runs
//	edits_test.go     an edit of a route is effective at all proxies, soon
//	many_test.go      what an edit costs on a Gateway with many routes
//
// It is no test of the product's code and not part of make test: make
// bench-routes runs it, prints the tables, writes docs/benchmarks/routes.md and
// fails if a promise does not hold.
//
// How an edit is measured. Every edit of a route writes the next number into
// it, as the path of a redirection, which a proxy answers by itself. Programs
// in pods (test/apps/poll) ask each proxy every few milliseconds and log when
// the answer changes; a watch of the API server tells when anybody could have
// known of the edit at all, and when the status tells of it. What all of them
// see meets on a board (board_test.go). Their clocks have to be one, so the
// cluster's only node must be the machine that this runs on.
//
// Every figure stands next to one of the same run that it can be compared with:
// what the machine does on a given day is in both.
package routes
