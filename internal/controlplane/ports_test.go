// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"tulle.dev/tulle/internal/bounded"
)

// open tells whether the server keeps a connection.
func open(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	for {
		_, err := c.Read(make([]byte, 1000))
		if err != nil {
			return timedOut(err)
		}
	}
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// TestStrangersAtADS: connections without a certificate make room for others, and those that have shown one do not.
func TestStrangersAtADS(t *testing.T) {
	any := httptest.NewTLSServer(nil) // for its certificate
	any.Close()
	server := &tls.Config{Certificates: any.TLS.Certificates, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2"}}
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.Creds(identifying{credentials.NewTLS(server)}))
	go func() {
		_ = g.Serve(bounded.Listen(raw, bounded.Connections{Total: 4, PerAddress: 4, Age: 2 * time.Second}))
	}()
	t.Cleanup(g.Stop)

	var known, strangers []net.Conn
	for range 6 {
		c, err := tls.Dial("tcp", raw.Addr().String(), &tls.Config{Certificates: any.TLS.Certificates, InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
			t.Fatal(err)
		}
		if !open(c) { // its settings have come: the handshake is over
			t.Fatal("a client with a certificate is turned away")
		}
		known = append(known, c)
	}
	for range 9 {
		c, err := net.Dial("tcp", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		strangers = append(strangers, c)
	}
	for i, c := range strangers[:5] {
		if open(c) {
			t.Errorf("stranger %d of 9 is still connected", i)
		}
	}
	for i, c := range strangers[5:] {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || timedOut(err) {
			t.Errorf("stranger %d may stay", 5+i)
		}
	}
	for i, c := range known {
		if !open(c) {
			t.Errorf("client %d with a certificate had to go", i)
		}
	}
}
