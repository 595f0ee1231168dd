// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

// upstreamRevision is the Revision of clusters of Services.
const upstreamRevision = Revision

// upstreamKeepalive is that of all other connections.
func upstreamKeepalive() *corev3.TcpKeepalive { return keepalive() }
