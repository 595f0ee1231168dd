// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package source watches the cluster and delivers what it sees as one stream of batches.
//
//	API server --watch--> reflector per kind --XFrom--> queue --batches--> one consumer
//
// It is the only user of Kubernetes clients that reads for the control plane, and it never writes.
// Objects are turned into model inputs when they are read and dropped, so that the process holds nothing
// of a pod or a Service that the mesh does not use, also while the first list of a kind is read (converted.go); Gateway
// API objects and Meshes are kept without status and most metadata. An update that changes nothing of what is kept is not delivered.
//
// Secrets and ConfigMaps may belong to anyone and be of any size. Of these the metadata is watched and none of it is
// kept; their contents are read by name, by Read, for those that something refers to (package referenced).
//
// Invariants: the first batch holds every object of every kind and comes only when all kinds have
// synced; afterwards a batch holds at most one event per object, its last. A kind whose CRD is
// missing counts as synced and empty; it is picked up when the CRD appears.
// It must not know: what a change means, routes, Envoy. Start reading at source.go; the conversions
// are in service.go, slice.go, workload.go, namespace.go, secret.go and cabundle.go.
package source
