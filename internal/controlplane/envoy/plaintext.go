// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	accesslogdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	statsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/names"
)

// maxSources bounds for how many addresses of clients an Envoy counts what came without mutual TLS.
const maxSources = 256

// countPlainHTTP counts requests by the address of their client. They are counted when they begin: streams
// and connections may live for days.
func countPlainHTTP(h *hcmv3.HttpConnectionManager) {
	h.AccessLog = bySource(accesslogdatav3.AccessLogType_DownstreamStart)
	h.AccessLogOptions = &hcmv3.HttpConnectionManager_HcmAccessLogOptions{FlushAccessLogOnNewRequest: true}
}

// countPlainBytes counts connections by the address of their client, when they begin.
func countPlainBytes(p *tcpv3.TcpProxy) {
	p.AccessLog = bySource(accesslogdatav3.AccessLogType_TcpConnectionStart)
	p.AccessLogOptions = &tcpv3.TcpProxy_TcpAccessLogOptions{FlushAccessLogOnStart: true}
}

// bySource is an access log that writes nothing. It counts, for each address, in Envoy's statistics, where
// the agent reads it; the agent's bootstrap says how long an address that came no more is kept. Envoys
// whose agent does not know names.StatPlaintext count nothing.
func bySource(when accesslogdatav3.AccessLogType) []*accesslogv3.AccessLog {
	return []*accesslogv3.AccessLog{{
		Name: "envoy.access_loggers.stats",
		Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_LogTypeFilter{
			LogTypeFilter: &accesslogv3.LogTypeFilter{Types: []accesslogdatav3.AccessLogType{when}},
		}},
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: typed(&statsv3.Config{
			StatsScope: &typev3.Scope{
				Prefix:      names.StatPlaintext,
				MaxCounters: wrapperspb.UInt32(maxSources), EnableEviction: true,
			},
			Counters: []*statsv3.Config_Counter{{
				Stat: &statsv3.Config_Stat{
					Name: names.StatPlaintextReceived,
					// Not the address that a header x-forwarded-for claims.
					Tags: []*statsv3.Config_Tag{{Name: names.StatPlaintextSource, ValueFormat: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}},
				},
				ValueFixed: wrapperspb.UInt64(1),
			}},
		})},
	}}
}
