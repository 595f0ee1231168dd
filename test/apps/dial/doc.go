// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command dial does one exchange from inside a pod and prints what became of
// it as one line of JSON (see result):
//
//	dial http [flags] URL       one request: method, headers, body, Expect, HTTP/2
//	dial tcp [flags] HOST:PORT  writes bytes and reads until the end
//	dial ws URL                 a WebSocket's message there and back
//	dial grpc HOST:PORT         /echo.Echo/Call
//	dial dns NAME               an address look-up over UDP
//
// It is in the echo image, so that tests can run it in any echo pod, with the
// redirection, the addresses and the identity of that pod. Where load counts
// many requests, dial tells everything about one. It knows nothing of the mesh
// and exits with 0 unless it was called wrongly: a failed exchange is a result.
package main
