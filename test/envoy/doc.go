// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package envoy holds the tests of Tulle's translation against the real Envoy:
//
//	validate_test.go   envoy --mode validate over every golden xds.yaml of the repository
//	parity_test.go     what the golden cases' requests.yaml ask the simulation, asked of Envoy
//	paths, headers, timeouts   requests written and shown byte for byte (verbatim_test.go); bodies that take long
//	identity, inbound, protocols, resilience, gateway: real proxies in network
//	namespaces, fed over ADS, with the real redirection; mesh_test.go sets them up
//
// It owns no code of the product. Envoy is found by $TULLE_ENVOY or in the
// cache that the image builder fills; without it the tests fail and say how to
// get it. The mesh tests need root, for network namespaces; addresses are from
// 198.18.0.0/15, which no real network has.
package envoy
