// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package layout says where everything of one cluster is: its addresses, its
// names on the host, and its files.
//
// It is pure: everything follows from a name, a range number and a state
// folder. It must not touch the machine.
//
// Invariant: all addresses are inside 198.18.0.0/15, which RFC 2544 sets aside
// for benchmarks, so no address of a cluster can be anybody's on a network; and
// two clusters with different names and range numbers share nothing.
//
//	range N   pods            services        load balancers      link to the host
//	0         198.18.0.0/24   198.19.0.0/24   198.19.128.0/24     198.18.255.0/30
//	1         198.18.1.0/24   198.19.1.0/24   198.19.129.0/24     198.18.255.4/30
//	...
//	63        198.18.63.0/24  198.19.63.0/24  198.19.191.0/24     198.18.255.252/30
//
// Start reading at Layout.
package layout
