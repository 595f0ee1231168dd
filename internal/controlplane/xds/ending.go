// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// How the server ends streams of its own accord: because the client may not have them any more, has too
// many, or sends what it must not.

// endWith has the sender end the stream. The sender may be sending to a client that does not read; then
// away ends it.
func (ss *session) endWith(err error) {
	select {
	case ss.ended <- err:
		ss.away()
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

// expire has a stream end when its client's right to it does, and returns what to call when it has ended.
func (s *Server) expire(ss *session) (stop func()) {
	if s.opts.Expires == nil {
		return func() {}
	}
	at := s.opts.Expires(ss.principal)
	if at.IsZero() {
		return func() {}
	}
	t := time.AfterFunc(at.Sub(s.now()), func() {
		ss.endWith(status.Error(codes.Unauthenticated, "the certificate that this stream was opened with is not valid any more; connect again with a new one"))
	})
	return func() { t.Stop() }
}

// ending logs why a stream is ended.
func (s *Server) ending(ss *session, err error) error {
	s.log(ss.owner.key, func() {
		s.opts.Logger.Info("Ended a stream", "principal", ss.principal, "stream", ss.id, "reason", err.Error())
	})
	return err
}
