// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package probes

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"tulle.dev/tulle/internal/names"
)

// Pod reaches the application of the agent's pod past the redirection.
type Pod struct {
	// IPs are the pod's addresses; the first is the one the kubelet would use.
	IPs []netip.Addr
}

// Addr is host:port of the application; an empty host means the pod's address.
func (p Pod) Addr(host string, port uint16) string {
	if host == "" && len(p.IPs) > 0 {
		host = p.IPs[0].String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// DialContext connects to an address. If it is the pod's own, the connection comes from the source
// address that the redirection lets through to the application.
func (p Pod) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	if host, _, err := net.SplitHostPort(addr); err == nil {
		if ip, err := netip.ParseAddr(host); err == nil && slices.Contains(p.IPs, ip.Unmap()) {
			source := names.InboundSource
			if ip.Unmap().Is6() {
				source = "::1"
			}
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
		}
	}
	return d.DialContext(ctx, network, addr)
}
