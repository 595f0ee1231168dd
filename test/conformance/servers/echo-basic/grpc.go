// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"crypto/tls"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	pb "sigs.k8s.io/gateway-api-conformance-images/echo-basic/grpcechoserver"
)

type grpcEcho struct {
	pb.UnimplementedGrpcEchoServer
	settings
}

// grpcServer returns a server that uses TLS if c is not nil.
func (s settings) grpcServer(c *tls.Config) *grpc.Server {
	var options []grpc.ServerOption
	if c != nil {
		c = c.Clone()
		c.NextProtos = []string{"h2"}
		options = append(options, grpc.Creds(credentials.NewTLS(c)))
	}
	server := grpc.NewServer(options...)
	pb.RegisterGrpcEchoServer(server, grpcEcho{settings: s})
	return server
}

func (g grpcEcho) Echo(ctx context.Context, _ *pb.EchoRequest) (*pb.EchoResponse, error) {
	return g.answer(ctx, "Echo")
}

func (g grpcEcho) EchoTwo(ctx context.Context, _ *pb.EchoRequest) (*pb.EchoResponse, error) {
	return g.answer(ctx, "EchoTwo")
}

func (g grpcEcho) answer(ctx context.Context, method string) (*pb.EchoResponse, error) {
	a := &pb.Assertions{
		FullyQualifiedMethod: "/" + pb.ServiceName + "/" + method,
		Context:              &pb.Context{Namespace: g.namespace, Ingress: g.ingress, ServiceName: g.service, Pod: g.pod},
	}
	md, _ := metadata.FromIncomingContext(ctx)
	for key, values := range md {
		for _, value := range values {
			if key == ":authority" {
				a.Authority = value
			}
			a.Headers = append(a.Headers, &pb.Header{Key: key, Value: value})
		}
	}
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			t := seen(&info.State)
			a.TlsAssertions = &pb.TLSAssertions{
				Version: t.Version, NegotiatedProtocol: t.NegotiatedProtocol, ServerName: t.ServerName,
				CipherSuite: t.CipherSuite, PeerCertificates: t.PeerCertificates,
			}
		}
	}
	// The suite reads the log to find which server received a call.
	fmt.Printf("Received %s from %s\n", method, a.Authority)
	return &pb.EchoResponse{Assertions: a}, nil
}
