// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package host is the part of a cluster that is outside of its namespaces: the
// first process' birth and end, the host's end of the link, the routes, the
// cgroups and the record of it all.
//
// It must not know what runs in the node. Whatever it makes, Stop removes.
//
// Invariant: everything it makes carries the cluster's name or range, so one
// cluster never touches what is another's.
//
// Start reading at Start and Stop.
package host
