// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package udpechoserver is the protocol of the conformance suite's UDP backend: JSON in answer to each
// datagram. The suite's client uses the types, so their names and fields are given.
package udpechoserver

import (
	"encoding/json"
	"log"
	"net"
)

// Context is the server that answered.
type Context struct {
	Namespace string `json:"namespace"`
	Ingress   string `json:"ingress"`
	Service   string `json:"service"`
	Pod       string `json:"pod"`
}

// EchoResponse is an answer: the datagram, and the server that received it.
type EchoResponse struct {
	Request string `json:"request"`
	Context
}

// Serve answers the datagrams of c until reading fails.
func Serve(c net.PacketConn, from Context) error {
	datagram := make([]byte, 1<<16)
	for {
		n, client, err := c.ReadFrom(datagram)
		if err != nil {
			return err
		}
		answer, err := json.Marshal(EchoResponse{Request: string(datagram[:n]), Context: from})
		if err != nil {
			return err
		}
		if _, err := c.WriteTo(answer, client); err != nil {
			log.Printf("answer to %s: %v", client, err)
		}
	}
}
