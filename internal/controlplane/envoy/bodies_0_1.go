// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// keptForRetries leaves it at the buffer of the connection.
func keptForRetries(bool) *wrapperspb.UInt64Value { return nil }

// retryBackOff is Envoy's own, of 25 ms.
func retryBackOff() *routev3.RetryPolicy_RetryBackOff { return nil }

func unavailable(*hcmv3.HttpConnectionManager) {}
