// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package parts builds the programs a test cluster consists of (Kubernetes,
// containerd, CoreDNS, cert-manager, ...) from their Go modules and keeps the
// results in a cache.
//
// It owns the table of parts, the key of each binary and the check of the
// Debian packages that building or running them needs. It must not know how a
// cluster is put together: it turns a Part into the path of a file.
//
// Invariant: a path it returns names a file whose key (a hash of everything
// that went into the build: sources, go.mod, go.sum, flags, Go version) is
// part of its name, so a binary is never out of date and never overwritten.
//
// Start reading at table.go, then key.go, then build.go.
package parts
