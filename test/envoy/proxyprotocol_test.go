// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"net"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// TestProxyProtocolOfSilentClients: a port for TCP that accepts connections with and without a header of the PROXY
// protocol connects a client that waits for the server's first bytes. A header that comes too late, whole or in part, is
// data: no byte is lost, and it gives no address.
func TestProxyProtocolOfSilentClients(t *testing.T) {
	s := newStage(t)
	banner(t, s.apps.listen(t, ":7001"), "smtp")
	s.hold(t, "", map[string]uint16{"smtp": 7001}, model.GatewayPort{Port: 25, ProxyProtocol: model.ProxyProtocolAccept, Sections: []model.GatewaySection{
		{Name: "tcp", Bytes: true, Table: "gw/shop/public/25/tcp", Streams: []model.Stream{stream("tcp", nil, share("smtp", "", 1))}},
	}})
	const v1 = "PROXY TCP4 203.0.113.9 198.18.9.3 5000 25"
	second := v2(net.IPv4(203, 0, 113, 8), net.IPv4(198, 18, 9, 3), 5000, 25)
	for name, c := range map[string]struct {
		early, late string   // what the client sends before and after the server's first line
		waits       bool     // the first line comes after the limit
		want        []string // what the server has of it
	}{
		"no header":                    {"", "HELO a\r\n", true, []string{"250 HELO a"}},
		"a header":                     {v1 + "\r\n", "HELO a\r\n", false, []string{"250 HELO a"}},
		"a header of version 2":        {second, "HELO a\r\n", false, []string{"250 HELO a"}},
		"the client is first":          {"HELO a\r\n", "HELO b\r\n", false, []string{"250 HELO a", "250 HELO b"}},
		"a late header":                {"", v1 + "\r\nHELO a\r\n", true, []string{"250 " + v1, "250 HELO a"}},
		"half a header":                {v1[:20], v1[20:] + "\r\nHELO a\r\n", true, []string{"250 " + v1, "250 HELO a"}},
		"a late header of version 2":   {"", second + "HELO a\r\n", true, []string{"250 ", "250 ", "250 \x00", "250 QUIT", "250 " + second[12:] + "HELO a"}},
		"half a header of version 2":   {second[:20], second[20:] + "HELO a\r\n", true, []string{"250 ", "250 ", "250 \x00", "250 QUIT", "250 " + second[12:] + "HELO a"}},
		"almost a header of version 2": {second[:27], second[27:] + "HELO a\r\n", true, []string{"250 ", "250 ", "250 \x00", "250 QUIT", "250 " + second[12:] + "HELO a"}},
		"the first byte of version 2":  {second[:1], second[1:] + "HELO a\r\n", true, []string{"250 ", "250 ", "250 \x00", "250 QUIT", "250 " + second[12:] + "HELO a"}},
		"the first bytes of a header":  {"PRO", "XY me\r\n", true, []string{"250 PROXY me"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, r := dialFrom(t, s.outside, "198.18.9.3:25")
			send(t, conn, c.early)
			began := time.Now()
			if got := line(t, r); got != "220 smtp" {
				t.Fatalf("the server's first line is %q", got)
			}
			if waits := time.Since(began) > 2*time.Second; waits != c.waits {
				t.Errorf("the first line comes after %v", time.Since(began))
			}
			send(t, conn, c.late)
			for _, want := range c.want {
				if got := line(t, r); got != want {
					t.Errorf("the server has %q, want %q", got, want)
				}
			}
		})
	}
}
