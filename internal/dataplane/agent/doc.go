// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package agent is the program beside Envoy in the active slot. It wires the
// rest of the data plane together:
//
//	identity --certificate--> relay --SDS, ADS--> Envoy <--watches-- agent
//	control plane <--mTLS--> relay                       slot <--reports--
//	control plane <--reports (report.go)-- tally <--counters-- Envoy
//	kubelet, Prometheus --> ports (15020, 15021) --> probes, metrics, Envoy
//
// It knows the order of things (certificate, scope, Envoy, ready) and of their
// end (ending, handover, stop), and leaves how each is done to its package.
//
// Invariant: all state of the agent belongs to one goroutine (agent.go); what
// the ports and the reports show of it is published as a whole.
//
// Start reading at agent.go; settings.go is what it gets from the pod.
package agent
