// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
)

// The retries that are always safe: nothing of the request has reached an application.
const (
	safeRetries = "connect-failure,refused-stream,reset-before-request,retriable-headers"
	// retries is how often, each time on another endpoint if there is one.
	retries = 2
)

// otherHostAttempts bounds the search for an endpoint that was not tried yet. Envoy draws two at random
// and takes the less busy one, and one that refuses everything is that always: of three endpoints of
// which two refuse, the third is drawn once in nine times. With 50 attempts one in 360 of the requests
// that had met both met one of them again, and failed.
const otherHostAttempts = 200

func defaultRetry() *routev3.RetryPolicy {
	return &routev3.RetryPolicy{
		RetryOn:    safeRetries,
		NumRetries: wrapperspb.UInt32(retries),
		RetriableHeaders: []*routev3.HeaderMatcher{{
			Name:                 unreached,
			HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true},
		}},
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name: "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: typed(&previoushostsv3.PreviousHostsPredicate{}),
			},
		}},
		HostSelectionRetryMaxAttempts: otherHostAttempts,
		RetryBackOff:                  retryBackOff(),
	}
}

// retry is a rule's own policy, or nil for the table's default. A rule that names codes keeps the
// safe retries: its attempts count for both (GEP-1731). With a backoff, Envoy waits a random time of up to the backoff,
// then of up to twice as much, and so on; it has no way to wait at least so long.
func retry(r model.Rule) *routev3.RetryPolicy {
	if r.Retry == nil && r.BackendTimeout <= 0 {
		return nil
	}
	p := defaultRetry()
	if r.BackendTimeout > 0 {
		p.PerTryTimeout = duration(r.BackendTimeout)
	}
	if r.Retry == nil {
		return p
	}
	p.NumRetries = wrapperspb.UInt32(r.Retry.Attempts)
	if len(r.Retry.Codes) > 0 {
		p.RetryOn += ",retriable-status-codes"
		p.RetriableStatusCodes = r.Retry.Codes
	}
	if r.Retry.Broken {
		p.RetryOn += ",reset" // also the end of per_try_timeout
	}
	if r.Retry.Backoff > 0 {
		base := max(r.Retry.Backoff, time.Millisecond) // Envoy's least
		p.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{BaseInterval: duration(base)}
	}
	return p
}

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
