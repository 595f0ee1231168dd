// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

// inboundRevision is the Revision of inbound listeners.
const inboundRevision = Revision

// allowResets leaves the limit of Envoy's HTTP/2 library.
func allowResets(*corev3.Http2ProtocolOptions) {}
