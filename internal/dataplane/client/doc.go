// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package client serves an application that is a client of the control plane itself, without a proxy: it
// writes what the application's gRPC library reads.
//
//	identity.Keeper -> Dir/current/tls.crt, tls.key -> the library's file_watcher
//	mesh's roots    -> Dir/current/ca.crt           -> the same
//	Settings        -> Dir/bootstrap.json           -> GRPC_XDS_BOOTSTRAP
//
// It knows no xDS: names are resolved and calls are made by the application.
// Invariant: certificate, key and roots change together, in one step (a symbolic link), as in the
// volumes of the kubelet. The key is in a file because the library reads no other source; Dir is to be a
// volume in memory that only the pod's own containers see.
package client
