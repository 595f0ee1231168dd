// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"io"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// TestEveryPortSeemsOpen: what a client beside a proxy sees of a port where nobody is, as
// docs/concepts/traffic.md has it.
func TestEveryPortSeemsOpen(t *testing.T) {
	m := newMesh(t)
	m.wire.plug(t, "198.18.9.20", false)
	db := service{name: "db", vip: "198.19.9.1", protocol: model.TCP}
	ended := service{name: "ended", vip: "198.19.9.2", protocol: model.TCP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.20", 9)}}
	web := service{name: "web", vip: "198.19.9.3", protocol: model.HTTP}
	from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, concat(db.all(m), ended.all(m), web.all(m)))
	for name, addr := range map[string]string{
		"a TCP port without endpoints": "198.19.9.1:80", "a TCP port nobody listens on": "198.19.9.2:80", "outside": "198.18.9.20:9",
	} {
		c, err := from.dial(t.Context(), "tcp4", addr)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if b, err := io.ReadAll(c); len(b) > 0 || err != nil && isTimeout(err) {
			t.Errorf("%s: %q, %v, want it closed", name, b, err)
		}
		_ = c.Close()
	}
	if got := get(t, client(from.netns), "http://198.19.9.3/", nil); got.status != 503 {
		t.Errorf("an HTTP port without endpoints: %d", got.status)
	}
}

func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}
