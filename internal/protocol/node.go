// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package protocol

// Fields of the metadata of the xDS Node that an agent sends with its first request. They are for
// people and metrics; rights come from the client certificate alone.
const (
	MetaVersion = "TULLE_VERSION" // release of the agent
	MetaEnvoy   = "ENVOY_VERSION"
	MetaSlot    = "TULLE_SLOT"
	MetaKind    = "TULLE_KIND"
)
