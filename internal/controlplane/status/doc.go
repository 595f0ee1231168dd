// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package status turns verdicts and acknowledgements into conditions on the
// users' objects.
//
//	xds acknowledgements -> Ledger (every replica) -> Report -\
//	                                    other replicas' Reports -> Collector (leader) -> Writer -> API server
//	gatewayapi verdicts ------------------------------------------------------------/
//
// One replica, the holder of a Lease, writes; it writes on change only, and a
// pod that comes or goes changes nothing: once a piece of configuration was
// acknowledged, only a new configuration or a rejection takes that back.
// It knows names and versions of xDS resources, not their meaning.
package status
