// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// allowResets lets a sidecar's peers reset as many streams as they like. Envoy's HTTP/2 library takes a
// thousand on a connection, and 33 a second from then on, and ends the connection with all that is under
// way on it for the next. Proxies reset a stream whenever a client gives up, and whenever they send a
// request to another pod because the application of this one is not there: both are many where many
// requests share a connection. Gateways keep that limit, against attacks from outside; who resets streams
// before they are answered is still stopped by another one everywhere.
func allowResets(o *corev3.Http2ProtocolOptions) {
	o.StreamResetBurst, o.StreamResetRate = wrapperspb.UInt64(meshFrames), wrapperspb.UInt64(meshFrames)
}
