// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package cli is the command line, tulle: check, status, proxy config,
// inject, upgrade, ca, version.
//
//	cluster (reads) -> facts -> check, status (judge) -> output
//	                -> dump (parses what a proxy says) -> output
//
//	Mesh -> lifecycle/upgrade, shadow -> output; change.go -> Mesh
//
// It only reads, but for the commands of "upgrade" and "ca" that say so: these change
// the Mesh, and the operator does the rest. Invariant: the exit code
// is 0 when all is well, 1 when something was found, 2 when the command could
// not do its work. Start reading at Main.
package cli
