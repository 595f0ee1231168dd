// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// forward connects to a port of a pod through the API server, as kubectl port-forward does, over WebSocket
// where the API server has it, else SPDY. It opens no port on this machine.
func (c *Cluster) forward(ctx context.Context, p *corev1.Pod, port int) (net.Conn, error) {
	config := rest.CopyConfig(c.config)
	config.Timeout = 0 // would cut the stream; ctx bounds it
	url := c.typed.CoreV1().RESTClient().Post().Resource("pods").Namespace(p.Namespace).Name(p.Name).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, fmt.Errorf("forward a port of Pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	fresh, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, config)
	if err != nil {
		return nil, fmt.Errorf("forward a port of Pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	dialer := portforward.NewFallbackDialerForStreaming(fresh, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		conn, err := open(dialer, port)
		done <- result{conn, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("forward port %d of Pod %s/%s: %w", port, p.Namespace, p.Name, r.err)
		}
		return r.conn, nil
	case <-ctx.Done():
		go func() { // the dialers take no context
			if r := <-done; r.conn != nil {
				_ = r.conn.Close()
			}
		}()
		return nil, fmt.Errorf("forward port %d of Pod %s/%s: %w", port, p.Namespace, p.Name, ctx.Err())
	}
}

// open opens the two streams of one forwarded connection.
func open(dialer httpstream.Dialer, port int) (net.Conn, error) {
	conn, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	problems, err := conn.CreateStream(headers)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = problems.Close() // nothing is sent on it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(headers)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	f := &forwarded{Stream: data, conn: conn, problem: make(chan error, 1)}
	go func() {
		text, err := io.ReadAll(io.LimitReader(problems, 1<<10))
		switch {
		case err != nil:
		case len(text) > 0:
			f.problem <- errors.New(string(text))
			_ = conn.Close()
		}
	}()
	return f, nil
}

// forwarded is a connection to a port of a pod. It has no deadlines; closing it ends reads and writes.
type forwarded struct {
	httpstream.Stream
	conn    httpstream.Connection
	problem chan error // what the kubelet says is wrong
}

func (f *forwarded) Read(b []byte) (int, error) {
	n, err := f.Stream.Read(b)
	if err != nil {
		select {
		case p := <-f.problem:
			return n, p
		default:
		}
	}
	return n, err
}

func (f *forwarded) Close() error                     { return f.conn.Close() }
func (f *forwarded) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (f *forwarded) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (f *forwarded) SetDeadline(time.Time) error      { return nil }
func (f *forwarded) SetReadDeadline(time.Time) error  { return nil }
func (f *forwarded) SetWriteDeadline(time.Time) error { return nil }
