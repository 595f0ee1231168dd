// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"tulle.dev/tulle/test/apps/report"
)

// server is one port: serve blocks until it fails or end is called.
type server struct {
	serve func() error
	end   func(context.Context) error
}

func httpServer(lis net.Listener, h http.Handler, idle time.Duration) server {
	srv := plain(h, idle)
	return server{serve: func() error { return srv.Serve(lis) }, end: srv.Shutdown}
}

func plain(h http.Handler, idle time.Duration) *http.Server {
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetHTTP2(true)
	both.SetUnencryptedHTTP2(true)
	return &http.Server{Handler: h, IdleTimeout: idle, ReadHeaderTimeout: 30 * time.Second, Protocols: both}
}

// httpsServer has the certificate of a folder, as a Secret that is mounted has it, or one of its own invention.
func httpsServer(lis net.Listener, h http.Handler, idle time.Duration, folder string) (server, error) {
	cert, err := selfSigned()
	if folder != "" {
		cert, err = tls.LoadX509KeyPair(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
	}
	if err != nil {
		return server{}, fmt.Errorf("get certificate: %w", err)
	}
	srv := plain(h, idle)
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	return server{serve: func() error { return srv.ServeTLS(lis, "", "") }, end: srv.Shutdown}, nil
}

// selfSigned makes a certificate for "echo" that lives a day and only in memory.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "echo"},
		DNSNames:     []string{"echo"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func grpcServer(lis net.Listener, self report.Self) server {
	srv := grpc.NewServer(report.Any(self.GRPC))
	report.Register(srv, "echo.Echo", "Call", self.GRPC)
	healthpb.RegisterHealthServer(srv, health.NewServer())
	return server{
		serve: func() error { return srv.Serve(lis) },
		end:   func(context.Context) error { srv.GracefulStop(); return nil },
	}
}

// banner is what a server-first port says; a client knows by it whom it reached.
func banner(self report.Self) string {
	return "220 " + self.Service + " " + self.Version + " " + self.Pod + "\n"
}

// tcpServer says first (if it is not empty), then sends back what it gets until the client has finished.
func tcpServer(lis net.Listener, first string) server {
	answer := func(c net.Conn) {
		defer c.Close()
		if _, err := io.WriteString(c, first); err != nil {
			return
		}
		_, _ = io.Copy(c, c) // the client's going is the normal end
	}
	serve := func() error {
		for {
			c, err := lis.Accept()
			if err != nil {
				return err
			}
			go answer(c)
		}
	}
	return server{serve: serve, end: func(context.Context) error { return lis.Close() }}
}
