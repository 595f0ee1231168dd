// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
)

func (s settings) tlsConfig() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}}
	if s.clientCAFile == "" {
		return c, nil
	}
	text, err := os.ReadFile(s.clientCAFile)
	if err != nil {
		return nil, err
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s contains no certificate", s.clientCAFile)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	return c, nil
}

// tlsSeen is what the server saw of a TLS connection, as the suite parses it.
type tlsSeen struct {
	Version            string   `json:"version"`
	PeerCertificates   []string `json:"peerCertificates,omitempty"`
	ServerName         string   `json:"serverName"`
	NegotiatedProtocol string   `json:"negotiatedProtocol,omitempty"`
	CipherSuite        string   `json:"cipherSuite"`
}

// seen returns nil for a connection without TLS.
func seen(s *tls.ConnectionState) *tlsSeen {
	if s == nil {
		return nil
	}
	t := &tlsSeen{
		// The suite calls it TLSv1.3, Go "TLS 1.3".
		Version:    strings.Replace(tls.VersionName(s.Version), "TLS ", "TLSv", 1),
		ServerName: s.ServerName, NegotiatedProtocol: s.NegotiatedProtocol, CipherSuite: tls.CipherSuiteName(s.CipherSuite),
	}
	for _, c := range s.PeerCertificates {
		t.PeerCertificates = append(t.PeerCertificates, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
	}
	return t
}
