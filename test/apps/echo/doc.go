// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command echo is the server of the end-to-end tests: it speaks every protocol
// that a mesh must carry and says exactly what reached it.
//
//	-http   HTTP/1.0, HTTP/1.1, h2c and WebSocket (see handlers.go for the paths)
//	-https  the same in TLS, with a self-signed certificate or that of -certificate
//	-grpc   gRPC: any method, as /echo.Echo/Call; streams; and gRPC's health service
//	-tcp    sends back what it gets
//	-banner speaks first, then sends back what it gets
//
// Every port has a flag that is empty by default, so one image plays many
// parts. The switches -exit-at-once and -idle-timeout make it end as badly as
// real applications do. It knows nothing of the mesh.
package main
