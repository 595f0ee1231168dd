// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"tulle.dev/tulle/internal/dataplane/wire"
)

// Upstream is how the relay reaches a control plane.
type Upstream struct {
	// Addr is host:port, for messages. Any replica will do.
	Addr string
	// Dial connects to the control plane and checks its certificate by the configuration.
	Dial func(context.Context, *tls.Config) (net.Conn, error)
	// TLS makes the configuration of a connection: the current certificate and roots.
	TLS func() (*tls.Config, error)
	// Renew gets a value when there is a new certificate: the stream is then opened anew, so that it
	// never outlives the certificate it was opened with.
	Renew <-chan struct{}
	Log   *slog.Logger
}

// Delays between attempts: doubled from the first to the last, each taken at random between half and all of it.
const (
	retryFirst = 200 * time.Millisecond
	retryLast  = 10 * time.Second
	// steady is how long a stream lasts that counts as a success even if nothing came on it.
	steady = 30 * time.Second
)

// Connect keeps a stream to the control plane until ctx is done.
func (l *Loop) Connect(ctx context.Context, u Upstream) {
	delay := retryFirst
	for ctx.Err() == nil {
		began := time.Now()
		heard, err := l.stream(ctx, u)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errRenewed) {
			delay = retryFirst
			continue
		}
		if heard || time.Since(began) > steady {
			delay = retryFirst
		}
		wait := delay/2 + rand.N(delay/2) //nolint:gosec // jitter needs no secrecy
		u.Log.Info("Connecting to the control plane again", "after", wait, "error", err)
		delay = min(2*delay, retryLast)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// stream is one stream; heard tells whether anything came on it.
func (l *Loop) stream(ctx context.Context, u Upstream) (heard bool, err error) {
	select {
	case <-u.Renew: // before TLS, which gets that very certificate
	default:
	}
	config, err := u.TLS()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	config.NextProtos = []string{"h2"}
	conn, err := grpc.NewClient("passthrough:///"+u.Addr,
		grpc.WithTransportCredentials(proven{credentials.NewTLS(config)}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return u.Dial(ctx, config) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{}), grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithNoProxy(),
	)
	if err != nil {
		return false, fmt.Errorf("control plane %s: %w", u.Addr, err)
	}
	defer conn.Close()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, wire.DeltaMethod)
	if err != nil {
		return false, fmt.Errorf("control plane %s: %w", u.Addr, err)
	}
	box := newOutbox()
	l.do(func(now time.Time) {
		l.upstream = box
		l.core.UpstreamOpen(now)
	})
	defer l.do(func(now time.Time) {
		l.upstream = nil
		l.core.UpstreamClosed(now)
	})
	go func() {
		cancel(box.send(ctx, func(m []byte) error { return s.SendMsg(m) }))
	}()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-u.Renew:
			cancel(errRenewed)
		case <-stop:
		}
	}()
	for {
		var b []byte
		if err := s.RecvMsg(&b); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return heard, fmt.Errorf("control plane %s: %w", u.Addr, err)
		}
		r, err := wire.ParseResponse(b)
		if err != nil {
			return heard, err
		}
		if !heard {
			heard = true
			u.Log.Info("Connected to the control plane", "address", u.Addr)
		}
		l.do(func(now time.Time) { l.core.UpstreamResponse(now, r) })
	}
}

// errRenewed ends a stream whose certificate has been renewed.
var errRenewed = errors.New("the certificate was renewed")

// proven are the credentials of a connection that Dial has made and checked.
type proven struct {
	credentials.TransportCredentials
}

func (proven) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c, credentials.TLSInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

func (p proven) Clone() credentials.TransportCredentials {
	return proven{p.TransportCredentials.Clone()}
}
