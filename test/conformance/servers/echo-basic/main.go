// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Echo-basic is the backend of the Gateway API's conformance suite: an HTTP server (also with TLS, and
// h2c on a port of its own), or a gRPC, TCP or UDP server if the environment says so. It is configured
// by environment variables only, those that the suite's manifests set.
package main

import (
	"cmp"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"os"

	"sigs.k8s.io/gateway-api-conformance-images/echo-basic/tcpserver"
	"sigs.k8s.io/gateway-api-conformance-images/echo-basic/udpechoserver"
)

// settings are what the environment says.
type settings struct {
	namespace, ingress, service, pod string
	httpPort, httpsPort, h2cPort     string
	tcpPort, tlsPort, udpPort        string
	keyFile, certFile, clientCAFile  string
}

func readSettings(env func(string) string) settings {
	return settings{
		namespace: env("NAMESPACE"), ingress: env("INGRESS_NAME"), service: env("SERVICE_NAME"), pod: env("POD_NAME"),
		httpPort:  cmp.Or(env("HTTP_PORT"), "3000"),
		httpsPort: cmp.Or(env("HTTPS_PORT"), "8443"),
		h2cPort:   cmp.Or(env("H2C_PORT"), "3001"),
		tcpPort:   cmp.Or(env("TCP_PORT"), "3000"),
		tlsPort:   cmp.Or(env("TLS_PORT"), "8443"),
		udpPort:   cmp.Or(env("UDP_PORT"), "8080"),
		// The suite's manifests use both names.
		keyFile: cmp.Or(env("TLS_SERVER_PRIVKEY"), env("TLS_SERVER_PRIV_KEY")), certFile: env("TLS_SERVER_CERT"),
		clientCAFile: env("TLS_CLIENT_CACERTS"),
	}
}

func main() {
	log.SetOutput(os.Stdout)
	s := readSettings(os.Getenv)
	servers, err := s.servers(os.Getenv)
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan error)
	for _, serve := range servers {
		go func() { ended <- serve() }()
	}
	log.Fatal(<-ended)
}

// servers returns functions that serve until they fail, one for each port.
func (s settings) servers(env func(string) string) ([]func() error, error) {
	switch {
	case env("GRPC_ECHO_SERVER") != "":
		return s.plainAndTLS(s.httpPort, s.httpsPort, func(l net.Listener, c *tls.Config) error { return s.grpcServer(c).Serve(l) })
	case env("TCP_ECHO_SERVER") != "":
		from := tcpserver.Context{Namespace: s.namespace, Ingress: s.ingress, Service: s.service, Pod: s.pod, TCPPort: s.tcpPort, TLSPort: s.tlsPort}
		return s.plainAndTLS(s.tcpPort, s.tlsPort, func(l net.Listener, c *tls.Config) error {
			if c != nil {
				l = tls.NewListener(l, c)
			}
			return tcpserver.Serve(l, from)
		})
	case env("UDP_ECHO_SERVER") != "":
		c, err := net.ListenPacket("udp", ":"+s.udpPort)
		if err != nil {
			return nil, err
		}
		from := udpechoserver.Context{Namespace: s.namespace, Ingress: s.ingress, Service: s.service, Pod: s.pod}
		return []func() error{func() error { return udpechoserver.Serve(c, from) }}, nil
	}
	return s.httpServers()
}

func (s settings) httpServers() ([]func() error, error) {
	e := newEcho(s)
	all, err := s.plainAndTLS(s.httpPort, s.httpsPort, func(l net.Listener, c *tls.Config) error {
		server := &http.Server{Handler: http.HandlerFunc(e.serve), TLSConfig: c}
		if c == nil {
			return server.Serve(l)
		}
		return server.ServeTLS(l, "", "")
	})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", ":"+s.h2cPort)
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // for the answer to a client that does not speak h2c
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: http.HandlerFunc(e.serveH2C), Protocols: protocols}
	return append(all, func() error { return server.Serve(l) }), nil
}

// plainAndTLS opens the port of a server and, if there is a certificate, the port of its TLS server, for
// which serve receives the configuration.
func (s settings) plainAndTLS(plain, secure string, serve func(net.Listener, *tls.Config) error) ([]func() error, error) {
	l, err := net.Listen("tcp", ":"+plain)
	if err != nil {
		return nil, err
	}
	all := []func() error{func() error { return serve(l, nil) }}
	if s.certFile == "" || s.keyFile == "" {
		return all, nil
	}
	c, err := s.tlsConfig()
	if err != nil {
		return nil, err
	}
	ls, err := net.Listen("tcp", ":"+secure)
	if err != nil {
		return nil, err
	}
	return append(all, func() error { return serve(ls, c) }), nil
}
