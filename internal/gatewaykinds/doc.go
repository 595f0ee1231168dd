// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package gatewaykinds lists the kinds of routes and policies that Tulle
// supports: how each is named, read and listed, and where its status is.
//
//	control plane  watches the kinds and writes their status
//	operator       lists the objects that still use a Mesh
//	CLI            reads them
//
// A kind is one row in kinds.go. What an object of the kind means is in the
// control plane (gatewayapi for routes, policy for policies). The package is
// pure and knows no client. Start reading at Kind.
package gatewaykinds
