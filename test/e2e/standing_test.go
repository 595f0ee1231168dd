// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/testing/cluster"
)

// TestStandingConnectionsOverModes: TCP connections and an answer that takes a minute, between meshed pods,
// outlive a switch of the Mesh from Permissive to Strict and back by more than the drain time of 30 s.
// What single changes do to listeners is tested in test/envoy.
func TestStandingConnectionsOverModes(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "standing", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Args: []string{"-tcp", ":9000"}, Ports: "[{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 9000, targetPort: 9000}]"})
	c.Deploy(t, ns, cluster.Echo{Name: "client"})
	c.Ready(t, ns, "server", "client")
	t.Cleanup(func() { setMode(t, c, v1alpha1.MTLSPermissive) })

	type result struct {
		dialed
		err error
	}
	client, answer := podOf(t, c, ns, "client"), make(chan result, 1)
	go func() {
		d, err := client.tryDial(t.Context(), "http", "-timeout", "100s", "http://server/stream?count=80&every=1s")
		answer <- result{d, err}
	}()
	const connections = 4
	held := c.Load(t, ns, true, "-url", "tcp://server:9000", "-hold", "80s", "-workers", "4", "-count", "4")
	fresh := c.Load(t, ns, true, "-url", "tcp://server:9000", "-rate", "20", "-duration", "10m")
	fresh.Sent(t, 20)
	setMode(t, c, v1alpha1.MTLSStrict)
	fresh.Sent(t, 700) // 35 s later
	setMode(t, c, v1alpha1.MTLSPermissive)
	noFailure(t, held.Wait(t, 2*time.Minute), connections)
	a := <-answer
	if a.err != nil || a.Error != "" || strings.Count(a.Text, "\n") < 80 && a.Bytes < 1000 {
		t.Errorf("the answer that takes a minute: %v, %q, %d bytes", a.err, a.Error, a.Bytes)
	}
	unfailed(t, map[string]*cluster.Run{"new connections": fresh})
	if err := fresh.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
