// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"tulle.dev/tulle/internal/names"
)

// unfinished announces a request of 7.9 MiB, sends all but its end, every second stream in frames of a
// byte, and stays.
func unfinished(ctx context.Context, a *attacker) error {
	d := tls.Dialer{Config: &tls.Config{RootCAs: a.d.roots, MinVersion: tls.VersionTLS13, ServerName: a.d.host, Certificates: []tls.Certificate{*a.cert}, NextProtos: []string{"h2"}}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.d.host, strconv.Itoa(names.PortADS)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return err
	}
	f := http2.NewFramer(conn, bytes.NewReader(nil))
	if err := f.WriteSettings(); err != nil {
		return err
	}
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, h := range [][2]string{
		{":method", "POST"},
		{":scheme", "https"},
		{":path", discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName},
		{":authority", a.d.host},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		if err := e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			return err
		}
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
		return err
	}
	const size = 79 << 20 / 10
	if err := f.WriteData(1, false, binary.BigEndian.AppendUint32([]byte{0}, size)); err != nil {
		return err
	}
	closed := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, conn)
		closed <- err
	}()
	piece := 16 << 10
	if a.number%2 == 1 {
		piece = 1
	}
	for sent := 0; sent+piece < size; sent += piece {
		if err := f.WriteData(1, false, make([]byte, piece)); err != nil {
			return err
		}
		a.count.sent(piece)
	}
	select {
	case err := <-closed:
		return err
	case <-time.After(time.Minute):
		return nil
	}
}
