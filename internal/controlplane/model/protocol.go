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

// appProtocols are the values of appProtocol that are known (KEP-1422, KEP-3726). All others are bytes to
// us: https, tls, redis, kubernetes.io/wss and so on.
var appProtocols = map[string]Protocol{
	"http":              HTTP,
	"kubernetes.io/ws":  HTTP,
	"grpc-web":          HTTP, // made for HTTP/1.1, and for browsers, which speak nothing else in the clear
	"grpc-web-text":     HTTP,
	"http2":             HTTP2,
	"kubernetes.io/h2c": HTTP2,
	"grpc":              GRPC,
}

// portNames are what names of ports begin with. Of those that fit, up to a dash or the end of the name, the
// longest decides: "grpc-web-public" is "grpc-web" and not "grpc".
var portNames = map[string]Protocol{
	"http":         HTTP,
	"grpc-web":     HTTP,
	"grpc-gateway": HTTP, // JSON over HTTP in front of gRPC
	"http2":        HTTP2,
	"h2c":          HTTP2,
	"grpc":         GRPC,
	"tcp":          TCP,
	"tls":          TCP,
	"https":        TCP,
	"mysql":        TCP,
	"postgres":     TCP,
	"redis":        TCP,
	"mongo":        TCP,
	"smtp":         TCP,
}

// ProtocolOf decides a TCP port's protocol: appProtocol, then the opaque ports, then the name, else TCP.
// declared is false where nothing but the default decided.
func ProtocolOf(appProtocol, portName string, port uint16) (p Protocol, declared bool) {
	if appProtocol != "" {
		if p, ok := appProtocols[strings.ToLower(appProtocol)]; ok {
			return p, true
		}
		return TCP, true
	}
	for _, o := range opaquePorts {
		if port == o {
			return TCP, true
		}
	}
	for begin := strings.ToLower(portName); begin != ""; {
		if p, ok := portNames[begin]; ok {
			return p, true
		}
		begin = begin[:max(strings.LastIndexByte(begin, '-'), 0)]
	}
	return TCP, false
}
