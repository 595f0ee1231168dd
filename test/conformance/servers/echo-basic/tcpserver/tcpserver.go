// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package tcpserver is the protocol of the conformance suite's TCP backend: a welcome message, then one
// line in answer to each of the lines PING, IS_TLS and TEST. The suite's client uses the types, so their
// names and fields are given.
package tcpserver

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"strconv"
)

// WelcomeMessage is what the server sends first.
const WelcomeMessage = "Gateway API Test TCP Server\n"

// Context is the server that answered.
type Context struct {
	Namespace string `json:"namespace"`
	Ingress   string `json:"ingress"`
	Service   string `json:"service"`
	Pod       string `json:"pod"`
	TCPPort   string `json:"tcpport"`
	TLSPort   string `json:"tlsport,omitempty"`
}

// TLSAssertions are what the server saw of the connection's TLS.
type TLSAssertions struct {
	Version            string `json:"version"`
	ServerName         string `json:"serverName"`
	NegotiatedProtocol string `json:"negotiatedProtocol,omitempty"`
	Curves             string `json:"curves,omitempty"`
	CipherSuite        string `json:"cipherSuite"`
}

// TCPAssertions is the answer to TEST.
type TCPAssertions struct {
	Context
	IsTLS        bool           `json:"isTLS"`
	TLSAssertion *TLSAssertions `json:"tls,omitempty"`
}

// Serve answers the connections of l until it fails.
func Serve(l net.Listener, from Context) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if err := answer(c, from); err != nil {
				log.Printf("connection of %s: %v", c.RemoteAddr(), err)
			}
		}()
	}
}

func answer(c net.Conn, from Context) error {
	a := TCPAssertions{Context: from}
	if t, ok := c.(*tls.Conn); ok {
		if err := t.Handshake(); err != nil {
			return err
		}
		s := t.ConnectionState()
		a.IsTLS = true
		a.TLSAssertion = &TLSAssertions{
			Version: tls.VersionName(s.Version), ServerName: s.ServerName, NegotiatedProtocol: s.NegotiatedProtocol,
			Curves: s.CurveID.String(), CipherSuite: tls.CipherSuiteName(s.CipherSuite),
		}
	}
	test, err := json.Marshal(a)
	if err != nil {
		return err
	}
	answers := map[string]string{"PING": "PONG", "IS_TLS": strconv.FormatBool(a.IsTLS), "TEST": string(test)}
	if _, err := fmt.Fprint(c, WelcomeMessage); err != nil {
		return err
	}
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		if line, ok := answers[lines.Text()]; ok {
			if _, err := fmt.Fprintln(c, line); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}
