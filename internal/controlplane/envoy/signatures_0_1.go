// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

// acceptEd25519 leaves Envoy's defaults.
func acceptEd25519(*tlsv3.TlsParameters) {}
