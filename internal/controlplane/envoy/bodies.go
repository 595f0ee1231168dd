// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package envoy

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// retryBody and edgeRetryBody are how much of a request's body a sidecar and a Gateway keep, until the answer
// begins, so that they can repeat the request.
//
// What a sidecar has sent but the server has not read when a connection fails is less than retryBody: the
// window of the stream to the server's proxy, as much in that proxy while it connects to the application,
// and as much that waits here. So a request that did not reach an application is repeated whatever its
// length, if that does not have to wait.
//
// The clients of a Gateway are anybody, and each may have edgeStreams requests on a connection whose bodies
// are kept. A Gateway keeps 6 MiB for these, and repeats requests with longer bodies only by chance.
const (
	retryBody     = 3*meshStreamWindow + bufferLimit
	edgeRetryBody = 64 << 10
)

func keptForRetries(edge bool) *wrapperspb.UInt64Value {
	if edge {
		return wrapperspb.UInt64(edgeRetryBody)
	}
	return wrapperspb.UInt64(retryBody)
}

// retryBackOff: another endpoint is asked at once. Envoy reads on while it waits, and has to give up when
// the body becomes longer than what it keeps.
func retryBackOff() *routev3.RetryPolicy_RetryBackOff {
	return &routev3.RetryPolicy_RetryBackOff{BaseInterval: duration(time.Millisecond)} // the least that Envoy accepts
}

// unavailable makes 503 of the 507 by which Envoy ends a request whose body became too long while it
// waited to repeat it: it is the server that did not answer, and a 507 means something else to WebDAV.
func unavailable(h *hcmv3.HttpConnectionManager) {
	h.LocalReplyConfig = &hcmv3.LocalReplyConfig{Mappers: []*hcmv3.ResponseMapper{{
		Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
			StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
				Op:    accesslogv3.ComparisonFilter_EQ,
				Value: &corev3.RuntimeUInt32{DefaultValue: 507, RuntimeKey: "tulle.unavailable"},
			}},
		}},
		StatusCode: wrapperspb.UInt32(503),
	}}}
}
