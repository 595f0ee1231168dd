// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/controlplane/intake"
	"tulle.dev/tulle/internal/names"
)

// Connections that clients may have before it is known who they are, see docs/adr/0026. The API server has one
// for each review under way, some hundred at most, from one address. Agents have one each, when they start.
func webhookConnections() bounded.Connections {
	return bounded.Connections{Total: 512, PerAddress: 256, Age: bounded.MaxAge}
}

func signConnections() bounded.Connections {
	return bounded.Connections{Total: 1024, PerAddress: 64, Age: bounded.MaxAge}
}

func listen(ctx context.Context, port int, most bounded.Connections) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	return bounded.Listen(l, most), nil
}

// ads serves the ADS port. Connections are bounded by intake, before and after the handshake.
func (r *replica) ads(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(names.PortADS))
	if err != nil {
		return fmt.Errorf("listen for proxies: %w", err)
	}
	in := intake.New(intake.Options{Request: r.server.MaxRequest, Metrics: r.metrics})
	return r.server.Serve(ctx, in.Listener(l), grpc.Creds(in.Credentials(credentials.NewTLS(r.authority.ServerTLS()))))
}

func (r *replica) https(ctx context.Context, port int, most bounded.Connections, h http.Handler) error {
	l, err := listen(ctx, port, most)
	if err != nil {
		return err
	}
	s := bounded.NewServer(h, r.authority.PublicTLS())
	// The API server would keep its connection to a replica that the Service no longer leads to, and pods
	// would be injected by the former release for as long as it does.
	s.SetKeepAlivesEnabled(false)
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(end) // what is left after five seconds is cut
	})
	defer stop()
	if err := s.ServeTLS(l, "", ""); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve port %d: %w", port, err)
	}
	return nil
}
