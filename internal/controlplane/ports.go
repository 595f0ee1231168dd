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

// adsConnections are those whose handshake is not over: then the client has shown a certificate of the mesh.
func adsConnections() bounded.Connections {
	return bounded.Connections{Total: 512, PerAddress: 64, Age: handshake}
}

// handshake is how long a client of the ADS port has to show its certificate.
const handshake = 10 * time.Second

func listen(ctx context.Context, port int, most bounded.Connections) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	return bounded.Listen(l, most), nil
}

func (r *replica) ads(ctx context.Context) error {
	l, err := listen(ctx, names.PortADS, adsConnections())
	if err != nil {
		return err
	}
	return r.server.Serve(ctx, l, grpc.Creds(identifying{credentials.NewTLS(r.authority.ServerTLS())}), grpc.ConnectionTimeout(handshake))
}

// identifying are server credentials that require a client certificate. A connection counts as a stranger's
// until its handshake is over.
type identifying struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (i identifying) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := i.TransportCredentials.ServerHandshake(raw)
	if err == nil {
		bounded.Identified(raw)
	}
	return conn, info, err
}

// Clone implements credentials.TransportCredentials.
func (i identifying) Clone() credentials.TransportCredentials {
	return identifying{i.TransportCredentials.Clone()}
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
