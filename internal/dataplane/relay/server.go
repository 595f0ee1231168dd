// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"

	"tulle.dev/tulle/internal/dataplane/wire"
)

// maxMessage is the largest message that the relay takes from either side, in bytes: the whole
// configuration of a large mesh in one response.
const maxMessage = 256 << 20

// Serve is the delta ADS server for Envoy, on a unix socket, until ctx is done.
func (l *Loop) Serve(ctx context.Context, socket string) error {
	// The socket of a former agent of this slot.
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the former socket: %w", err)
	}
	lis, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("serve Envoy: %w", err)
	}
	s := grpc.NewServer(
		grpc.ForceServerCodecV2(wire.Codec{}),
		grpc.MaxRecvMsgSize(maxMessage),
	)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "envoy.service.discovery.v3.AggregatedDiscoveryService",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName:    "DeltaAggregatedResources",
			Handler:       func(_ any, stream grpc.ServerStream) error { return l.serveEnvoy(stream) },
			ServerStreams: true,
			ClientStreams: true,
		}},
	}, nil)
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	if err := s.Serve(lis); err != nil {
		return fmt.Errorf("serve Envoy: %w", err)
	}
	return nil
}

// serveEnvoy is one stream of Envoy. A newer stream takes its place: what still comes on this one is dropped.
func (l *Loop) serveEnvoy(stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	box := newOutbox()
	l.do(func(now time.Time) {
		l.envoy = box
		l.core.EnvoyOpen(now)
	})
	defer l.do(func(now time.Time) {
		if l.envoy == box {
			l.envoy = nil
			l.core.EnvoyClosed(now)
		}
	})
	go func() {
		defer cancel()
		// The error shows at the receiving end too.
		_ = box.send(ctx, func(m []byte) error { return stream.SendMsg(m) })
	}()
	for {
		var b []byte
		if err := stream.RecvMsg(&b); err != nil {
			return nil //nolint:nilerr // Envoy has gone, or ctx is done: no failure of this server
		}
		r, err := wire.ParseRequest(b)
		if err != nil {
			return err
		}
		l.do(func(now time.Time) {
			if l.envoy == box {
				l.core.EnvoyRequest(now, r)
			}
		})
	}
}
