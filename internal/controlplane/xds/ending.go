// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"context"
	"math"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// How the server ends streams of its own accord: because the client may not have them any more, has too
// many, or sends what it must not.

// endWith has the sender end the stream.
func (ss *session) endWith(err error) {
	select {
	case ss.ended <- err:
	default: // it ends already
	}
}

// Recheck calls Options.Verify for the streams of an owner and ends those that it returns an error for. It
// costs a look at these streams only, and may be called from anywhere.
func (s *Server) Recheck(key any) {
	for _, ss := range s.owners.of(key) {
		s.verify(ss)
	}
}

func (s *Server) verify(ss *session) {
	if s.opts.Verify == nil {
		return
	}
	if err := s.opts.Verify(ss.principal); err != nil {
		ss.endWith(status.Error(codes.Unauthenticated, err.Error()))
	}
}

// expiry returns a timer that fires when a client's right to its stream ends.
func (s *Server) expiry(p Principal) *time.Timer {
	if s.opts.Expires != nil {
		if at := s.opts.Expires(p); !at.IsZero() {
			return time.NewTimer(at.Sub(s.now()))
		}
	}
	t := time.NewTimer(math.MaxInt64)
	t.Stop()
	return t
}

// away tells that a stream ends because of its client.
func (s *Server) away(ctx context.Context) {
	if s.opts.Ended != nil {
		s.opts.Ended(ctx)
	}
}

// ending logs why a stream is ended.
func (s *Server) ending(ss *session, err error) error {
	s.log(ss.owner.key, func() {
		s.opts.Logger.Info("Ended a stream", "principal", ss.principal, "stream", ss.id, "reason", err.Error())
	})
	return err
}
