// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// addressLimit is how long one address of the file may take to answer: it may be of a Service that was
// deleted and created again since, and then nothing answers there.
const addressLimit = 4 * time.Second

// Dialer connects to the control plane. Its fields are not changed after first use. Safe for concurrent use.
type Dialer struct {
	// Host is the name of the control plane's Service, or its address. It is in the certificate.
	Host string
	// AddressesFile has the Service's IP addresses, one a line. It is read for each connection. It need
	// not exist.
	AddressesFile string
}

// Dial connects to a port of the control plane and proves who answers by the configuration, whose
// ServerName the caller sets. It tries the addresses of the file first, then Host. The error names every
// attempt.
func (d Dialer) Dial(ctx context.Context, port int, config *tls.Config) (net.Conn, error) {
	var failed []error
	for _, address := range d.addresses() {
		c, err := dial(ctx, address, port, addressLimit, config)
		if err == nil {
			return c, nil
		}
		failed = append(failed, err)
	}
	c, err := dial(ctx, d.Host, port, 0, config)
	if err == nil {
		return c, nil
	}
	return nil, attempts(append(failed, err))
}

// attempts are the errors of one Dial, on one line.
type attempts []error

func (a attempts) Error() string {
	words := make([]string, 0, len(a))
	for _, err := range a {
		words = append(words, err.Error())
	}
	return strings.Join(words, "; ")
}

func (a attempts) Unwrap() []error { return a }

// dial makes one attempt; limit 0 is none but that of ctx.
func dial(ctx context.Context, host string, port int, limit time.Duration, config *tls.Config) (net.Conn, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	// The kernel notices a dead peer in about half a minute, at no cost in messages.
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	address := net.JoinHostPort(host, strconv.Itoa(port))
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err // names the address
	}
	c := tls.Client(raw, config)
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("timed out")
		}
		return nil, fmt.Errorf("TLS with %s: %w", address, err)
	}
	return c, nil
}

// addresses are those of the file. What is no address there is left out.
func (d Dialer) addresses() []string {
	text, err := os.ReadFile(d.AddressesFile)
	if err != nil {
		return nil // an operator of an earlier release wrote none
	}
	var out []string
	for _, f := range strings.Fields(string(text)) {
		if ip, err := netip.ParseAddr(f); err == nil && f != d.Host {
			out = append(out, ip.String())
		}
	}
	return out
}
