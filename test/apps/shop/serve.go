// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"tulle.dev/tulle/test/apps/report"
)

// shutdownTime is how long requests get to end after SIGTERM.
const shutdownTime = 20 * time.Second

// serveHTTP answers every path but /healthz with a report, until ctx ends.
func serveHTTP(ctx context.Context, address string, self report.Self, calls func(context.Context) []report.Report) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer := self.HTTP(r)
		answer.Calls = calls(r.Context())
		report.Write(w, answer)
	})
	srv := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.Background(), shutdownTime)
		defer cancel()
		stopped <- srv.Shutdown(last)
	}()
	log.Printf("%s %s serves HTTP on %s", self.Service, self.Version, address)
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", address, err)
	}
	return <-stopped
}

// serveGRPC serves the catalog and gRPC's own health service until ctx ends.
func serveGRPC(ctx context.Context, address string, self report.Self) error {
	lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	srv := grpc.NewServer()
	report.Register(srv, catalogService, listName, self.GRPC)
	healthpb.RegisterHealthServer(srv, health.NewServer())
	go func() {
		<-ctx.Done()
		srv.GracefulStop()
	}()
	log.Printf("%s %s serves gRPC on %s", self.Service, self.Version, address)
	return srv.Serve(lis)
}
