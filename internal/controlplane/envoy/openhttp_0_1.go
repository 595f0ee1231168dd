// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// openHTTP1 leaves Envoy's own list of methods, and its 403 for upgrades that are not enabled.
func openHTTP1(*corev3.Http1ProtocolOptions) {}

// keepRequestID leaves it to Gateways to replace the x-request-id of their clients.
func keepRequestID(*hcmv3.HttpConnectionManager) {}
