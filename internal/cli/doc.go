// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package cli is the command line, tulle: check, status, proxy config,
// inject, upgrade, ca, backup, restore, uninstall, version.
//
//	cluster (reads) -> facts -> check, status (judge) -> output
//	                -> dump (parses what a proxy says) -> output
//
//	Mesh -> lifecycle/upgrade, shadow -> output; change.go -> Mesh
//
//	cluster <-> backup (what to keep, what to put back), unmesh (who leaves when)
//
// It only reads, but for the commands of "upgrade" and "ca" that say so, which
// change the Mesh and leave the rest to the operator, and for "restore" and
// "uninstall". Invariant: the exit code is 0 when all is well, 1 when something
// was found, 2 when the command could not do its work. Start reading at Main.
package cli
