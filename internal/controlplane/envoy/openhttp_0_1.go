// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"tulle.dev/tulle/internal/controlplane/model"
)

// openHTTP1 leaves Envoy's own list of methods, and its 403 for upgrades that are not enabled.
func openHTTP1(*corev3.Http1ProtocolOptions) {}

// upgrades are the upgrades that proxies pass on.
func upgrades() []*hcmv3.HttpConnectionManager_UpgradeConfig {
	return []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}}
}

// keepRequestID leaves it to Gateways to replace the x-request-id of their clients.
func keepRequestID(*hcmv3.HttpConnectionManager) {}

// connectMatch: no route takes CONNECT requests.
func connectMatch(model.Match) *routev3.RouteMatch { return nil }

func tunnels(*routev3.RouteConfiguration) {}
