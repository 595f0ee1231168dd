// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// largeAtOnce requests of more than largeRequest bytes are handled at a time, since handling one takes
// several times its size.
const (
	largeAtOnce  = 4
	largeRequest = 64 << 10
)

// receive returns nil when the client ends the stream.
func (s *Server) receive(ss *session, stream grpc.ServerStream) error {
	var m raw
	handle := ss.deltas()
	if ss.sotw {
		handle = ss.states()
	}
	ctx := stream.Context()
	for {
		if err := s.pause(ctx, ss); err != nil {
			return err
		}
		err := stream.RecvMsg(&m)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case status.Code(err) == codes.ResourceExhausted:
			return s.malformed(ss, err)
		case err != nil:
			return err
		}
		size := len(m.bytes)
		if size > largeRequest {
			s.large <- struct{}{}
		}
		ss.work = 0
		err = handle(m.bytes)
		m.bytes = nil // the next one may be long in coming; the first one was large
		if size > largeRequest {
			<-s.large
		}
		if s.opts.Handled != nil {
			s.opts.Handled(ctx, size)
		}
		ss.owner.pay(size, ss.work, s.now())
		if err != nil {
			return s.malformed(ss, err)
		}
	}
}

// pause waits until the account of the stream's owner is not overdrawn.
func (s *Server) pause(ctx context.Context, ss *session) error {
	debt := ss.owner.debt(s.now())
	if debt <= 0 {
		return nil
	}
	s.metrics.paused.Inc()
	t := time.NewTimer(debt)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}
