// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command shop is the sample application: one binary, one role per service.
//
//	web ──gRPC──> catalog
//	 ├───HTTP──> reviews (v1, v2)
//	 └───HTTP──> cart ──gRPC──> catalog
//
// Every answer says which service, version and pod made it and who called, as
// the proxy proved it, so that a mesh's work can be seen from outside. It
// knows nothing of the mesh: it calls plain host names and uses no TLS.
package main
