// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/test/attack"
)

// TestAttacksThroughAGateway: the requests of all clients of a Gateway share its connection to a pod of the
// mesh. Whatever one client sends, that connection stays, and so do the requests of others on it.
func TestAttacksThroughAGateway(t *testing.T) {
	m := newMesh(t)
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, nil)
	generous(t, server.listen(t, ":8080"))
	web := service{name: "web", vip: "198.19.9.1", protocol: model.HTTP, accounts: []string{"server"}, endpoints: []model.Endpoint{meshed(server.ip, 8080)}}
	m.edge(t, "198.18.9.3", []string{"*"}, []model.Rule{{Backends: []model.WeightedBackend{web.to(1)}}}, web.backend(m))
	d := door{"edge", m.wire.plug(t, "198.18.9.30", false), "198.18.9.3:80"}
	to := attack.Target{
		Dial:        func(ctx context.Context) (net.Conn, error) { return d.ns.dial(ctx, "tcp4", d.addr) },
		Connections: attackers, Held: 200, Pace: attack.NewPace(siegePace / 5),
	}
	for _, a := range slices.Concat(attack.HTTP2(), attack.HTTP1(), attack.TCP()) {
		t.Run(a.Name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				a.Do(ctx, to)
			}()
			connections := server.stat(t, `^http\.std/in-http1\.downstream_cx_total`)
			good := 0
			other := client(d.ns)
			other.Timeout = 5 * time.Second
			for begun := time.Now(); time.Since(begun) < 2*time.Second; time.Sleep(20 * time.Millisecond) {
				answer, err := ask(ctx, other, http.MethodPost, "http://"+d.addr+"/", nil)
				if err != nil || answer.status != http.StatusOK {
					t.Errorf("after %v: %d %q, %v", time.Since(begun), answer.status, answer.body, err)
					continue
				}
				good++
			}
			cancel()
			<-ended
			t.Logf("%d requests of another client were answered; new connections between the proxies: %d", good, server.stat(t, `^http\.std/in-http1\.downstream_cx_total`)-connections)
			if good == 0 {
				t.Error("no request was answered")
			}
		})
	}
}

// TestAnswersThatNobodyReads: thousands of requests through a Gateway whose clients read no answer neither use up
// what a pod may send to the Gateway nor slow it down, so that others get their answers.
func TestAnswersThatNobodyReads(t *testing.T) {
	m := newMesh(t)
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, nil)
	generous(t, server.listen(t, ":8080"))
	web := service{name: "web", vip: "198.19.9.1", protocol: model.HTTP, accounts: []string{"server"}, endpoints: []model.Endpoint{meshed(server.ip, 8080)}}
	gateway := m.edge(t, "198.18.9.3", []string{"*"}, []model.Rule{{Backends: []model.WeightedBackend{web.to(1)}}}, web.backend(m))
	d := door{"edge", m.wire.plug(t, "198.18.9.30", false), "198.18.9.3:80"}
	const connections, streams = 20, 100
	for range connections {
		f := d.framed(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		for n := range streams {
			if _, err := f.Ask(n, "GET", "/bytes/1048576"); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, 20*time.Second, func() error {
		if n := server.stat(t, `^http\.std/in-http1\.downstream_rq_active`); n < connections*streams {
			return fmt.Errorf("%d of %d requests are under way", n, connections*streams)
		}
		return nil
	})
	other := client(d.ns)
	other.Timeout = 5 * time.Second
	for range 20 {
		if answer, err := ask(t.Context(), other, http.MethodPost, "http://"+d.addr+"/bytes/100000", nil); err != nil || answer.status != http.StatusOK {
			t.Errorf("%d, %v", answer.status, err)
			break
		}
	}
	t.Logf("the Gateway has %d MiB in its heap", gateway.allocated(t)>>20)
}
