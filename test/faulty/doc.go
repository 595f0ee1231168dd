// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package faulty has the faults of releases that upgrades must not get past. Tests alone use them: each is
// the current release, wrapped, under a version of its own. hack/images packs them (make faulty).
//
// The programs below this package wrap the product's: tulle changes what the control plane tells proxies, and
// tulle-proxy interferes with the agent's Envoy. Nothing of the product contains a fault.
package faulty

// The releases, by what is wrong with them. No operator knows them before its releases file names them.
const (
	Crashing = "0.3.3" // Envoy ends two seconds after each start
	Refused  = "0.3.4" // Envoy refuses every inbound listener
	Failing  = "0.3.5" // each fifth inbound request is answered with 503
	Slow     = "0.3.6" // each inbound request waits for 300 ms
	Cutting  = "0.3.7" // a slot that leaves cuts its connections; nothing shows it before
)

// Releases returns the versions of all of them, in ascending order.
func Releases() []string { return []string{Crashing, Refused, Failing, Slow, Cutting} }
