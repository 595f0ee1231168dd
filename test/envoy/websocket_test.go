// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"io"
	"testing"

	"golang.org/x/net/http2"
)

// TestNoExtendedConnectAtGateways: a Gateway does not offer WebSockets over HTTP/2 (RFC 8441), so that
// browsers open an HTTP/1.1 connection for them, and the application gets a whole handshake.
func TestNoExtendedConnectAtGateways(t *testing.T) {
	for _, d := range ways(t, switching) {
		if d.name != "edge" {
			continue
		}
		c, r := d.dial(t)
		defer c.Close()
		if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
			t.Fatal(err)
		}
		f := http2.NewFramer(c, r)
		if err := f.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			s, ok := frame.(*http2.SettingsFrame)
			if !ok {
				continue
			}
			if v, offered := s.Value(http2.SettingEnableConnectProtocol); offered && v != 0 {
				t.Error("a Gateway offers extended CONNECT")
			}
			return
		}
	}
	t.Error("there is no Gateway among the ways")
}
