// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import "strings"

// Protocol is what a Service port speaks.
type Protocol string

// Protocols. HTTP is HTTP/1.1 (with WebSocket); HTTP2 is HTTP/2 with prior knowledge.
const (
	TCP   Protocol = "tcp"
	HTTP  Protocol = "http"
	HTTP2 Protocol = "http2"
	GRPC  Protocol = "grpc"
	UDP   Protocol = "udp" // untouched by the mesh; for UDPRoutes on Gateways
)

// IsHTTP tells whether requests can be routed.
func (p Protocol) IsHTTP() bool { return p == HTTP || p == HTTP2 || p == GRPC }

// OpaquePorts are the well-known ports of server-first protocols: TCP unless appProtocol says otherwise.
var opaquePorts = [...]uint16{25, 587, 3306, 4444, 5432, 6379, 9300, 11211}

// ProtocolOf decides a TCP port's protocol: appProtocol (KEP-1422, KEP-3726), then the opaque
// ports, then the prefix of the port's name ("http", "http-admin", "grpc-web"), else TCP.
// declared is false where nothing but the default decided, so that an attached route may.
func ProtocolOf(appProtocol, portName string, port uint16) (p Protocol, declared bool) {
	switch strings.ToLower(appProtocol) {
	case "http", "kubernetes.io/ws":
		return HTTP, true
	case "http2", "kubernetes.io/h2c":
		return HTTP2, true
	case "grpc":
		return GRPC, true
	case "":
	default: // https, tls, redis, kubernetes.io/wss ...: bytes to us
		return TCP, true
	}
	for _, o := range opaquePorts {
		if port == o {
			return TCP, true
		}
	}
	prefix, _, _ := strings.Cut(strings.ToLower(portName), "-")
	switch prefix {
	case "http":
		return HTTP, true
	case "http2", "h2c":
		return HTTP2, true
	case "grpc":
		return GRPC, true
	case "tcp", "tls", "https", "mysql", "postgres", "redis", "mongo", "smtp":
		return TCP, true
	}
	return TCP, false
}
