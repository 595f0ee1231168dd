// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"encoding/json"
	"fmt"

	"tulle.dev/tulle/internal/names"
)

// Node says who an Envoy is, in logs and metrics; rights come from the agent's certificate.
type Node struct {
	ID, Cluster string
	Metadata    map[string]string
}

// Settings are all that a bootstrap depends on.
type Settings struct {
	Node Node
	// Kind is names.KindSidecar or names.KindGateway.
	Kind        string
	AdminSocket string
	XDSSocket   string
	// Heap is how large the heap may become, in bytes. If 0, it has no limit.
	Heap uint64
	// Files is how many file descriptors it may have open. If 0, there is no limit.
	Files uint64
}

// xdsCluster is the name of the one static cluster: the agent.
const xdsCluster = "xds"

// maxConnections is how many downstream connections an Envoy holds at most before it refuses new ones: above
// what a pod serves. With little memory it holds fewer.
const maxConnections = 50000

// forgetAfter is how long, at least, a client's address is remembered that sent plaintext.
const forgetAfter = "1800s"

// stats are the statistics that Envoy keeps, as regular expressions over their whole names. Each
// costs memory per cluster or listener, so this is what people look at, plus what the agent needs
// (marked *).
func stats() []string {
	return []string{
		`(listener_manager|cluster_manager)\..*`, // * readiness
		`server\.(live|state|uptime|version|memory_allocated|memory_heap_size|concurrency|total_connections|days_until_first_cert_expiring|watchdog_(mega_)?miss)`,
		`overload\..*`, `envoy\.overload_actions\..*`,
		// What the limits for clients do: for each HTTP manager of an inbound listener or Gateway, none of outbound ones, and
		// for each listener; those of the HTTP codecs and of the PROXY protocol are for the whole process.
		`http\.(std/|gw/).*\.downstream_(rq_(idle_timeout|header_timeout|too_many_premature_resets|rx_reset)|cx_(protocol_error|overload_disable_keepalive))`,
		`http[12]\.(dropped_headers_with_underscores|requests_rejected_with_underscores_in_headers|header_overflow|rx_messaging_error|tx_flush_timeout|keepalive_timeout|[a-z_]+_flood)`,
		`listener\..*\.(downstream_(pre_cx_timeout|global_cx_overflow|cx_transport_socket_connect_timeout))`,
		`(listener\..*\.)?proxy_proto\..*`,
		`control_plane\.connected_state`,
		`http\..*\.(downstream_rq_(total|active|completed|[1-5]xx|time|timeout|overload_close)|downstream_cx_(total|active|destroy_remote_active_rq|tx_bytes_buffered)|no_route|rq_total)`, // *
		`tcp\..*\.(downstream_cx_(total|no_route|tx_bytes_total|rx_bytes_total|tx_bytes_buffered)|upstream_flush_active)`,                                                                  // *
		`listener\..*\.(downstream_cx_(total|active|overflow|overload_reject)|no_filter_chain_match|ssl\.(handshake|connection_error|fail_verify.*))`,                                      // *
		`cluster\..*\.(upstream_cx_(total|active|connect_fail|connect_timeout|overflow|destroy_local_with_active_rq|destroy_remote_with_active_rq)|upstream_rq_(total|active|[1-5]xx|timeout|per_try_timeout|retry|retry_success|retry_overflow|pending_overflow|pending_failure_eject|rx_reset)|membership_(healthy|total)|ssl\.(handshake|connection_error|fail_verify.*))`, // *
		`sds\..*\.update_(success|rejected)`,
		names.StatPlaintext + `\..*`, // * bounded by the listener that counts
	}
}

// object is a JSON object.
type object = map[string]any

// Bootstrap makes the bootstrap configuration of an Envoy, as JSON. Everything else comes over ADS.
func Bootstrap(s Settings) ([]byte, error) {
	pipe := func(path string, extra object) object {
		p := object{"path": path}
		for k, v := range extra {
			p[k] = v
		}
		return object{"pipe": p}
	}
	ads := func() object {
		// Without a timeout Envoy waits for its configuration however long it takes, and is not ready till then.
		return object{"ads": object{}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
	}
	patterns := make([]object, 0, len(stats()))
	for _, p := range stats() {
		patterns = append(patterns, object{"safe_regex": object{"regex": p}})
	}
	b, err := json.MarshalIndent(object{
		"node":  object{"id": s.Node.ID, "cluster": s.Node.Cluster, "metadata": s.Node.Metadata},
		"admin": object{"address": pipe(s.AdminSocket, object{"mode": 0o600})},
		"dynamic_resources": object{
			"ads_config": object{
				"api_type": "DELTA_GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": true,
				"grpc_services": []object{{"envoy_grpc": object{"cluster_name": xdsCluster}}},
			},
			"cds_config": ads(),
			"lds_config": ads(),
		},
		"static_resources": object{"clusters": []object{{
			"name": xdsCluster, "type": "STATIC", "connect_timeout": "1s",
			"typed_extension_protocol_options": object{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
				"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
				"explicit_http_config": object{"http2_protocol_options": object{}},
			}},
			"load_assignment": object{"cluster_name": xdsCluster, "endpoints": []object{{
				"lb_endpoints": []object{{"endpoint": object{"address": pipe(s.XDSSocket, nil)}}},
			}}},
		}}},
		"layered_runtime": Runtime(s.Kind),
		"stats_config":    object{"stats_matcher": object{"inclusion_list": object{"patterns": patterns}}},
		// Addresses that sent plaintext are forgotten one to two times this after they did so last.
		"stats_eviction_interval": forgetAfter,
		// Statistics of a cluster come into being with its first request.
		"deferred_stat_options": object{"enable_deferred_creation_stats": true},
		"overload_manager":      Overload(s.Heap, s.Files),
	}, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode bootstrap: %w", err)
	}
	return b, nil
}
