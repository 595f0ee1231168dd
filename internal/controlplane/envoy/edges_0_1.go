// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
)

// applicationRevision is the Revision of the clusters of HTTP applications, datagramRevision that of clusters
// of datagrams.
const applicationRevision, datagramRevision, helloRevision = Revision, Revision, ""

const edgeStreams = 1000

const peerHeadersKb, peerHeadersCount = headersKb, headersCount

func edgeHTTP2() *corev3.Http2ProtocolOptions {
	return &corev3.Http2ProtocolOptions{
		AllowConnect:                            true,
		MaxConcurrentStreams:                    wrapperspb.UInt32(edgeStreams),
		InitialStreamWindowSize:                 wrapperspb.UInt32(edgeStreamWindow),
		InitialConnectionWindowSize:             wrapperspb.UInt32(edgeConnectionWindow),
		OverrideStreamErrorOnInvalidHttpMessage: wrapperspb.Bool(true),
	}
}

// fromWorld: streams of clients of Gateways have no limit of time.
func (manager) fromWorld(*hcmv3.HttpConnectionManager) {}

// fromStrangers: clients without mutual TLS have the limits of other proxies.
func fromStrangers(*hcmv3.HttpConnectionManager) {}

// removeForgedIdentities leaves other spellings of x-forwarded-client-cert.
func removeForgedIdentities(*hcmv3.HttpConnectionManager) {}

// largestField leaves Envoy's own limit.
func largestField() *wrapperspb.UInt32Value { return nil }

func inspectHellos(l *listenerv3.Listener) {
	l.ListenerFilters = []*listenerv3.ListenerFilter{
		listenerFilter(tlsInspector, &tlsinspectorv3.TlsInspector{}),
	}
}

// proxyProtocol is not supported.
func proxyProtocol(*listenerv3.Listener, model.GatewayPort) {}

// boundSessions leaves the number of clients of a UDP port without a limit.
func boundSessions(*clusterv3.Cluster) {}
