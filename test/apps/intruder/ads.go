// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

var types = map[string]string{
	"listener": "type.googleapis.com/envoy.config.listener.v3.Listener",
	"cluster":  "type.googleapis.com/envoy.config.cluster.v3.Cluster",
	"secret":   "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
	"scope":    protocol.ScopeType,
}

type dialer struct {
	host  string
	roots *x509.CertPool
}

func (d dialer) connect(cert *tls.Certificate) (*grpc.ClientConn, error) {
	cfg := &tls.Config{RootCAs: d.roots, MinVersion: tls.VersionTLS13, ServerName: d.host}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	return grpc.NewClient("passthrough:///"+net.JoinHostPort(d.host, strconv.Itoa(names.PortADS)), grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
}

// raw sends bytes as they are.
type raw struct{ b []byte }

type rawCodec struct{}

func (rawCodec) Name() string                    { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error)   { return v.(*raw).b, nil }
func (rawCodec) Unmarshal(b []byte, v any) error { v.(*raw).b = b; return nil }

// garbage opens a stream, sends bytes and returns how the server ended it.
func (d dialer) garbage(cert *tls.Certificate, b []byte) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := d.connect(cert)
	if err != nil {
		return "error: " + err.Error()
	}
	defer func() { _ = conn.Close() }()
	st, err := conn.NewStream(ctx, &grpc.StreamDesc{StreamName: "DeltaAggregatedResources", ServerStreams: true, ClientStreams: true},
		discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName, grpc.ForceCodec(rawCodec{}))
	if err == nil {
		_ = st.SendMsg(&raw{b}) // the answer tells
		err = st.RecvMsg(&raw{})
	}
	if err == nil {
		return "answered"
	}
	return "refused: " + err.Error()
}

// fetch subscribes to one resource and returns "got" or "removed".
func (d dialer) fetch(cert *tls.Certificate, what string) (string, error) {
	kind, name, ok := strings.Cut(what, "=")
	if !ok || types[kind] == "" {
		return "", fmt.Errorf("%q is not TYPE=NAME", what)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := d.connect(cert)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	st, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return "", err
	}
	if err := st.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: types[kind], ResourceNamesSubscribe: []string{name}}); err != nil {
		return "", err
	}
	resp, err := st.Recv()
	if err != nil {
		return "", err
	}
	for _, r := range resp.Resources {
		if r.Name == name {
			return "got", nil
		}
	}
	for _, r := range resp.RemovedResources {
		if r == name {
			return "removed", nil
		}
	}
	return fmt.Sprintf("neither: %d resources", len(resp.Resources)), nil
}
