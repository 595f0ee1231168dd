// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"math"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Timeouts. Nothing here ends a request or a stream that is in use: only users set request timeouts.
const (
	connectTimeout = 5 * time.Second
	// fetchTimeout bounds how long a new cluster or listener waits for its endpoints, routes or
	// secrets: longer than a fail-over between control planes, so that a proxy doesn't begin to
	// serve half a configuration; but not for ever, so that one lost resource can't keep a pod from starting.
	fetchTimeout = 20 * time.Second
	// handshakeTimeout bounds TLS handshakes of clients.
	handshakeTimeout = 10 * time.Second
	// sniffTimeout is how long the inbound listener waits for a first byte to tell TLS from
	// plaintext. A mesh client sends its hello at once; an unmeshed client of a server-first
	// protocol stays silent and is delayed by this much. Permissive mode only.
	sniffTimeout = 500 * time.Millisecond
	// inboundIdle is how long a server's proxy keeps idle connections of clients; outboundIdle is
	// shorter, so that a client's proxy never sends into a connection that is being closed.
	inboundIdle  = time.Hour
	outboundIdle = 5 * time.Minute
	// plainIdle is for servers without a proxy: below the 2 s and 5 s after which common servers close.
	plainIdle = 1500 * time.Millisecond
	// appIdle is for the proxy's connections to its own application: they cost little, and
	// applications that close after 1 s exist. The rest of that second is for a proxy that gets no
	// CPU: a request on a connection that was closed meanwhile can't be repeated safely.
	appIdle = 200 * time.Millisecond
	// headersTimeout is how long a client of a gateway may take to send a request's headers.
	headersTimeout = 10 * time.Second
)

// Sizes.
const (
	bufferLimit = 64 << 10 // per connection
	// Between sidecars the window of a connection is that of 1,024 streams: a connection carries
	// many independent requests, and some whose reader is slow must not stall the others.
	meshStreams          = 65536
	meshStreamWindow     = 256 << 10
	meshConnectionWindow = 256 << 20
	// peerStreams and appStreams are how many requests a proxy makes at a time on one connection to another proxy,
	// and to an application; for more it opens another connection. So responses that no client reads cannot use up
	// the window of the connection. Envoy also visits all waiting streams whenever the connection's buffer fills or
	// drains: with thousands of streams that takes more time than sending the bytes, for every stream.
	peerStreams, appStreams = 100, 1000
	// Envoy's advice for edges (best practices: edge proxies).
	edgeStreamWindow     = 64 << 10
	edgeConnectionWindow = 1 << 20
	// meshFrames is how many frames may wait to be written to one peer before it is taken for an
	// attack: some for each of the streams.
	meshFrames = 4 * meshStreams
	// headersKb and headersCount are what sidecars let through: more than servers do by default,
	// so that the limit is the application's and not the mesh's.
	headersKb    = 128
	headersCount = 256
)

// unlimited are thresholds that are never reached: limits that nobody asked for would fail requests.
func unlimited() *clusterv3.CircuitBreakers {
	most := wrapperspb.UInt32(math.MaxUint32)
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections: most, MaxPendingRequests: most, MaxRequests: most, MaxRetries: most,
	}}}
}

// keepalive finds peers that are gone without a word after about two minutes.
func keepalive() *corev3.TcpKeepalive {
	return &corev3.TcpKeepalive{
		KeepaliveTime:     wrapperspb.UInt32(60),
		KeepaliveInterval: wrapperspb.UInt32(20),
		KeepaliveProbes:   wrapperspb.UInt32(3),
	}
}

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

// allowResets lets a sidecar's peers reset as many streams as they like. Envoy's HTTP/2 library takes a
// thousand on a connection, and 33 a second from then on, and ends the connection with all that is under
// way on it for the next. Proxies reset a stream whenever a client gives up, and whenever they send a
// request to another pod because the application of this one is not there: both are many where many
// requests share a connection. Gateways keep that limit, against attacks from outside; who resets streams
// before they are answered is still stopped by another one everywhere.
func allowResets(o *corev3.Http2ProtocolOptions) {
	o.StreamResetBurst, o.StreamResetRate = wrapperspb.UInt64(meshFrames), wrapperspb.UInt64(meshFrames)
}

func duration(d time.Duration) *durationpb.Duration { return durationpb.New(d) }
