// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"time"
)

// Limits of a server. A connection's buffers are the frames and windows of HTTP/2 and the records of TLS:
// some 200 KB in all, so that a Connections.Total of some hundreds is some tens of megabytes.
const (
	maxHeaderBytes = 16 << 10
	// maxStreams is how many requests a connection may have at a time.
	maxStreams = 64
	// window is how much of the bodies of a connection is received before it is read, in bytes; the least
	// that HTTP/2 allows.
	window   = 64 << 10
	maxFrame = 16 << 10
)

// MaxAge is for Connections.Age of a NewServer: longer than any request may take.
const MaxAge = time.Minute

// NewServer returns an HTTP server for small requests of clients that it does not know: every phase has
// an end, and nothing that a client sends is kept without a limit. Serve it on a listener of Listen. A nil
// config serves plain HTTP.
func NewServer(handler http.Handler, config *tls.Config) *http.Server {
	return &http.Server{
		Handler: handler, TLSConfig: config,
		ReadHeaderTimeout: 5 * time.Second, // and the handshake's
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReadFrameSize: maxFrame,
			MaxReceiveBufferPerConnection: window, MaxReceiveBufferPerStream: window,
			SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second, WriteByteTimeout: 5 * time.Second,
		},
		ConnState: serving, ConnContext: withConn,
		ErrorLog: log.New(panics{log.Default().Writer()}, "", log.LstdFlags),
	}
}

// panics passes on the lines of a server's log that report a panic. All others are about what a client
// sent, a line for each handshake that fails: strangers could fill the log.
type panics struct{ to io.Writer }

// Write implements io.Writer.
func (p panics) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic")) {
		return p.to.Write(line)
	}
	return len(line), nil
}
