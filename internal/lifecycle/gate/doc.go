// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package gate judges a wave of an upgrade: by what the replaced proxies saw
// against those of the same workloads that are still to be replaced, and by
// what somebody outside says.
//
//	reports of proxies -> Judge (pure) -> verdict, with the figures
//	URL or Prometheus  -> Ask -> verdict, with the answer
//
//	judge.go       start here: one workload after the other
//	statistics.go  when a difference is more than chance
//	external.go    the only file that touches the network
//
// It must not know what an upgrade does with a verdict; that is package upgrade.
//
// Invariants: too little traffic is NoEvidence, never a pass; a workload is
// never blamed for what it did before; the words depend on the figures alone,
// not on the order of the proxies.
package gate
