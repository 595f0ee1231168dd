// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// TestFewFiles: clients that open more connections than a proxy has file descriptors don't end it. Envoy crashes when it
// has none left for a connection to a server.
func TestFewFiles(t *testing.T) {
	const files, opened = 800, 1000
	m := newMesh(t)
	m.ads.files = files
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}, {Port: 8081, Protocol: model.TCP}}}, nil)
	generous(t, server.listen(t, ":8080"))
	generous(t, server.listen(t, ":8081"))
	bare := m.wire.plug(t, "198.18.9.20", false)
	generous(t, bare.listen(t, ":8080"))
	web := service{name: "web", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.20", 8080)}}
	gateway := m.edge(t, "198.18.9.3", []string{"*"}, []model.Rule{{Backends: []model.WeightedBackend{web.to(1)}}}, web.backend(m))
	outside := m.wire.plug(t, "198.18.9.30", false)
	for name, c := range map[string]struct {
		proxy   *proxy
		address string
	}{"a Gateway": {gateway, "198.18.9.3:80"}, "a sidecar": {server.proxy, "198.18.9.11:8080"}, "a sidecar's port for bytes": {server.proxy, "198.18.9.11:8081"}} {
		t.Run(name, func(t *testing.T) {
			var open []net.Conn
			for range opened {
				conn, err := outside.dial(t.Context(), "tcp", c.address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "GET /hang HTTP/1.1\r\nHost: x\r\n\r\n") // it may be closed already
				open = append(open, conn)
			}
			eventually(t, 10*time.Second, func() error {
				if n := c.proxy.stat(t, "downstream_cx_overload_reject|downstream_global_cx_overflow"); n == 0 {
					return fmt.Errorf("no connection of %d was refused", opened)
				}
				return nil
			})
			for _, conn := range open {
				_ = conn.Close()
			}
			eventually(t, 10*time.Second, func() error {
				resp, err := client(outside).Get("http://" + c.address + "/")
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					return fmt.Errorf("%s", resp.Status)
				}
				return nil
			})
		})
	}
}
