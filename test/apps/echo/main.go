// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tulle.dev/tulle/test/apps/report"
)

// options are what the command line says; an empty address means: do not serve that.
type options struct {
	name                           string
	http, https, grpc, tcp, banner string
	certificate                    string
	exitAtOnce                     bool
	idleTimeout, readyAfter, grace time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	flags.StringVar(&o.name, "name", "echo", "what the server calls itself")
	flags.StringVar(&o.http, "http", ":8080", "address of HTTP/1 and h2c")
	flags.StringVar(&o.https, "https", "", "address of HTTP/1 and HTTP/2 in TLS")
	flags.StringVar(&o.certificate, "certificate", "", "folder with tls.crt and tls.key for -https; empty: self-signed")
	flags.StringVar(&o.grpc, "grpc", "", "address of gRPC")
	flags.StringVar(&o.tcp, "tcp", "", "address of the TCP echo")
	flags.StringVar(&o.banner, "banner", "", "address of the TCP echo that speaks first")
	flags.BoolVar(&o.exitAtOnce, "exit-at-once", false, "on SIGTERM exit without ending anything")
	flags.DurationVar(&o.idleTimeout, "idle-timeout", 0, "close HTTP connections that are idle for so long; 0 is never")
	flags.DurationVar(&o.readyAfter, "ready-after", 0, "/healthz says 503 for so long")
	flags.DurationVar(&o.grace, "grace", 20*time.Second, "how long requests get to end after SIGTERM")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	return o, nil
}

// run serves until ctx ends or one of the servers fails.
func run(ctx context.Context, o options) error {
	self := report.SelfFromEnv(o.name)
	h := newHandlers(self, time.Now().Add(o.readyAfter))
	var servers []server
	var setup error
	add := func(address string, make func(net.Listener) (server, error)) {
		if address == "" || setup != nil {
			return
		}
		lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			setup = fmt.Errorf("listen on %s: %w", address, err)
			return
		}
		s, err := make(lis)
		setup = err
		servers = append(servers, s)
	}
	add(o.http, func(l net.Listener) (server, error) { return httpServer(l, h, o.idleTimeout), nil })
	add(o.https, func(l net.Listener) (server, error) { return httpsServer(l, h, o.idleTimeout, o.certificate) })
	add(o.grpc, func(l net.Listener) (server, error) { return grpcServer(l, self), nil })
	add(o.tcp, func(l net.Listener) (server, error) { return tcpServer(l, ""), nil })
	add(o.banner, func(l net.Listener) (server, error) { return tcpServer(l, banner(self)), nil })
	if setup != nil {
		return setup
	}

	failed := make(chan error, len(servers))
	for _, s := range servers {
		go func() { failed <- s.serve() }()
	}
	log.Printf("%s %s serves", self.Service, self.Version)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	if o.exitAtOnce {
		return nil
	}
	last, cancel := context.WithTimeout(context.Background(), o.grace)
	defer cancel()
	var ends []error
	for _, s := range servers {
		if err := s.end(last); err != nil && !errors.Is(err, http.ErrServerClosed) {
			ends = append(ends, err)
		}
	}
	return errors.Join(ends...)
}
