// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package backup writes down what gives a mesh its identity, and decides how
// it is put back: the Mesh, its self-made roots and its intermediate with
// their keys, the roots that proxies trust, the list of releases.
//
//	cluster -> Seen -> Make -> File -> YAML
//	YAML -> Parse -> Restore (with Target, what is there) -> Plan -> cluster
//
// It knows no client and no clock. Invariant: a plan never replaces a key that
// is there, and a file that Make made is one that Restore takes.
//
// Start reading at File and Restore.
package backup
