// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// upstreamRevision is the Revision of clusters of Services; 1 had the keepalive of all other connections, 2
// did not tell a server's proxy how the application is asked, 3 took header fields of at most 64 KiB.
const upstreamRevision = "4"

// upstreamKeepalive finds endpoints that are gone without a word after one minute. Kubernetes takes
// about as long to take the endpoints of a lost node away, which tells new requests; those that wait
// for an answer on a connection to that node learn it from this alone. With HTTP/1.1 and TCP, too,
// where there is no ping between the proxies. Two or three small packets a minute and idle
// connection are the price.
func upstreamKeepalive() *corev3.TcpKeepalive {
	return &corev3.TcpKeepalive{
		KeepaliveTime:     wrapperspb.UInt32(30),
		KeepaliveInterval: wrapperspb.UInt32(10),
		KeepaliveProbes:   wrapperspb.UInt32(3),
	}
}
