// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"golang.org/x/sys/unix"

	"tulle.dev/tulle/internal/cgroup"
)

// agentMemory is the least of a container's memory that is left to the agent, and to what Envoy has outside its heap.
const agentMemory = 32 << 20

// HeapLimit returns how large Envoy's heap may become, in bytes: seven eighths of the memory limit of this
// container, without at least agentMemory. It is 0 if the container has no limit. Envoy keeps the value it was
// started with.
func HeapLimit() uint64 { return heapLimit(cgroup.MemoryLimit()) }

func heapLimit(limit uint64) uint64 {
	return limit - min(limit/2, max(limit/8, agentMemory))
}

// accountedPower is the exponent of two from which on Envoy counts the bytes that a stream holds: 32 KiB,
// less than what a Gateway keeps of a request that has no answer yet.
const accountedPower = 15

// leastConnection is the least memory that a client's connection takes, in bytes.
const leastConnection = 8 << 10

// filesFor is how many file descriptors there have to be for each connection of a client: one for it, one for the
// connection to its server, and as many again for idle connections to servers, listeners and requests of HTTP/2, each
// of which may need a connection to a server of HTTP/1.1. Envoy 1.40 crashes when it has none left.
const filesFor = 4

// FewFiles is below how many file descriptors requests of HTTP/2 can use up all, before they use up a heap of the
// default size.
const FewFiles = 1 << 16

// FileLimit returns how many file descriptors an Envoy that this process starts may have open: Envoy raises its limit
// as far as it may. 0 is no limit.
func FileLimit() uint64 {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Max == unix.RLIM_INFINITY {
		return 0
	}
	return l.Max
}

// connections is how many connections of clients an Envoy may hold, with a heap of so many bytes and so many file
// descriptors: no more than fit into the heap if each takes as little as it can. Those that take more make the heap's
// actions begin earlier.
func connections(heap, files uint64) uint64 {
	n := uint64(maxConnections)
	if heap > 0 {
		n = min(n, heap/leastConnection)
	}
	if files > 0 {
		n = min(n, files/filesFor)
	}
	return n
}

// Overload returns the configuration of Envoy's overload manager, for a heap of so many bytes and so many file
// descriptors; 0 is no limit.
// Where the heap has one, Envoy does more the fuller it is, so that the kernel does not end it with all its
// connections: first it has less patience with clients that do nothing, then it resets the streams that hold
// most, then it keeps no connection after an answer, takes no new connections and returns free memory to the
// system, and at last it answers new requests with 503.
func Overload(heap, files uint64) map[string]any {
	const limit, fixedHeap = "envoy.resource_monitors.global_downstream_max_connections", "envoy.resource_monitors.fixed_heap"
	monitor := func(name, kind string, config object) object {
		config["@type"] = "type.googleapis.com/envoy.extensions.resource_monitors." + kind
		return object{"name": name, "typed_config": config}
	}
	action := func(name string, trigger object) object {
		trigger["name"] = fixedHeap
		return object{"name": "envoy.overload_actions." + name, "triggers": []object{trigger}}
	}
	monitors := []object{
		monitor(limit, "downstream_connections.v3.DownstreamConnectionsConfig", object{"max_active_downstream_connections": connections(heap, files)}),
	}
	out := object{"refresh_interval": "0.1s"} // each time it resets at most 50 streams
	if heap > 0 {
		monitors = append(monitors, monitor(fixedHeap, "fixed_heap.v3.FixedHeapConfig", object{"max_heap_size_bytes": heap}))
		out["buffer_factory_config"] = object{"minimum_account_to_track_power_of_two": accountedPower}
		patience := action("reduce_timeouts", object{"scaled": object{"scaling_threshold": 0.7, "saturation_threshold": 0.85}})
		patience["typed_config"] = object{
			"@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
			"timer_scale_factors": []object{
				{"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "10s"},
				{"timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_timeout": "30s"},
				{"timer": "HTTP_DOWNSTREAM_STREAM_FLUSH", "min_timeout": "10s"},
				{"timer": "TRANSPORT_SOCKET_CONNECT", "min_timeout": "3s"},
			},
		}
		out["actions"] = []object{
			patience,
			action("disable_http_keepalive", object{"threshold": object{"value": 0.92}}),
			action("reject_incoming_connections", object{"threshold": object{"value": 0.95}}),
			action("shrink_heap", object{"threshold": object{"value": 0.95}}),
			action("reset_high_memory_stream", object{"scaled": object{"scaling_threshold": 0.75, "saturation_threshold": 0.9}}),
			action("stop_accepting_requests", object{"threshold": object{"value": 0.98}}),
		}
	}
	out["resource_monitors"] = monitors
	return out
}
