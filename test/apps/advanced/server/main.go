// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Server is the server of the image echo-advanced: HTTP/1.1 and h2c, the same
// behind TLS, gRPC and TCP, each on the ports it is told. It answers with what
// reached it, as lines of text.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"tulle.dev/tulle/test/apps/advanced"
)

type options struct {
	http, tls, grpc, tcp []string
	crt, key             string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	c := &cobra.Command{
		Use: "server", Short: "Answer with what arrived", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error { return run(c.Context(), o) },
	}
	f := c.Flags()
	f.StringSliceVar(&o.http, "port", nil, "ports of HTTP")
	f.StringSliceVar(&o.tls, "tls", nil, "those of them that speak TLS")
	f.StringSliceVar(&o.grpc, "grpc", nil, "ports of gRPC")
	f.StringSliceVar(&o.tcp, "tcp", nil, "ports that send back what they get")
	f.StringVar(&o.crt, "crt", "", "certificate for TLS; one is made where there is no such file")
	f.StringVar(&o.key, "key", "", "its private key")
	if err := c.ExecuteContext(ctx); err != nil {
		stop()
		os.Exit(1)
	}
}

// run serves until ctx ends or a port fails.
func run(ctx context.Context, o options) error {
	failed := make(chan error, 1)
	serve := func(port string, f func(net.Listener) error) error {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+port)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		context.AfterFunc(ctx, func() { l.Close() })
		go func() {
			if err := f(l); ctx.Err() == nil {
				failed <- fmt.Errorf("serve port %s: %w", port, err)
			}
		}()
		return nil
	}
	var wrong error
	for _, p := range o.http {
		wrong = errors.Join(wrong, serve(p, func(l net.Listener) error { return serveHTTP(l, p, slices.Contains(o.tls, p), o) }))
	}
	for _, p := range o.grpc {
		wrong = errors.Join(wrong, serve(p, func(l net.Listener) error {
			srv := grpc.NewServer()
			advanced.Register(srv, p)
			return srv.Serve(l)
		}))
	}
	for _, p := range o.tcp {
		wrong = errors.Join(wrong, serve(p, serveTCP))
	}
	if wrong != nil {
		return wrong
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func serveHTTP(l net.Listener, port string, encrypted bool, o options) error {
	srv := &http.Server{Handler: handler(port), ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	if !encrypted {
		return srv.Serve(l)
	}
	pair, err := certificate(o.crt, o.key)
	if err != nil {
		return err
	}
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	return srv.ServeTLS(l, "", "")
}

func handler(port string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ip, _, _ := net.SplitHostPort(r.RemoteAddr)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "Method=%s\nProto=%s\nHost=%s\nURL=%s\nIP=%s\n%s%s",
			r.Method, r.Proto, r.Host, r.URL.RequestURI(), ip, advanced.Lines("RequestHeader", r.Header), advanced.Self(port))
	})
}

func serveTCP(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c) // a client that breaks off ends its own connection
		}()
	}
}

// certificate is that of the files, or a new one that signs itself.
func certificate(crt, key string) (tls.Certificate, error) {
	if _, err := os.Stat(crt); err == nil {
		return tls.LoadX509KeyPair(crt, key)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"echo"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}
