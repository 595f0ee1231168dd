// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package referenced reads the Secrets and ConfigMaps that Gateways, ListenerSets and BackendTLSPolicies refer
// to and may refer to, and no others.
//
//	source --batches--> Stage ------------batches, with Secrets and ConfigMaps--> the graph
//	   \--changes of metadata--^ \--get by name--> source.Read
//
// It owns which objects are read and when, and that an object is passed on only after what it refers to was
// looked up: otherwise a listener whose reference changes would lose its certificate until the new one is read.
// It must not know what is in a Secret.
//
// Invariants: what nothing refers to is not read. A read that fails changes nothing: what was read last stays.
// Nothing waits for an object's references but the object itself; it waits for a bounded time, and the reads
// of one namespace do not wait for those of another.
//
// Start reading at loader.go, which is without I/O; wanted.go says what is referred to, stage.go does the reads.
package referenced
