// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/test/attack"
)

// edgeTo makes a Gateway with the rules, all to one server, and a door to it.
func edgeTo(t *testing.T, m *mesh, rules ...model.Rule) (*proxy, door) {
	t.Helper()
	bare := m.wire.plug(t, "198.18.9.20", false)
	generous(t, bare.listen(t, ":8080"))
	l := bare.listen(t, ":8081")
	go func() {
		_ = http.Serve(l, http.HandlerFunc(upgrade))
	}()
	web := service{name: "web", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.20", 8080)}}
	sockets := service{name: "sockets", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.20", 8081)}}
	for i := range rules {
		to := web
		if strings.HasSuffix(rules[i].Match.Path.Value, "/socket") {
			to = sockets
		}
		rules[i].Backends = []model.WeightedBackend{to.to(1)}
	}
	p := m.edge(t, "198.18.9.3", []string{"*"}, rules, concat(web.backend(m), sockets.backend(m)))
	return p, door{"edge", m.wire.plug(t, "198.18.9.30", false), "198.18.9.3:80"}
}

// framed connects with HTTP/2, with settings of the client.
func (d door) framed(t *testing.T, settings ...http2.Setting) *attack.Framed {
	t.Helper()
	c, err := d.ns.dial(t.Context(), "tcp4", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	f, err := attack.NewFramed(c, settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestSilentStreams: a stream of a Gateway that is silent for as long as the Gateway allows ends, whoever is
// silent; unless its rule allows more.
func TestSilentStreams(t *testing.T) {
	const limit = 2 * time.Second
	m := newMesh(t)
	m.clients.StreamIdle = limit
	rewritten := func(from string, idle time.Duration) model.Rule {
		return model.Rule{
			Match: prefix(from), Idle: idle,
			Rewrite: &model.Rewrite{Path: &model.PathRewrite{Prefix: from, Replacement: "/"}},
		}
	}
	p, d := edgeTo(t, m, model.Rule{Match: exact("/socket")}, model.Rule{Match: exact("/patient/socket"), Idle: model.Unlimited},
		rewritten("/patient", model.Unlimited), rewritten("/longer", time.Minute), model.Rule{})

	unread := d.framed(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	other := d.framed(t)
	begun := time.Now()
	streams := map[string]struct {
		on                   *attack.Framed
		method, path, status string
		lives                bool
	}{
		"an answer that the client does not read":      {unread, "GET", "/bytes/1048576", "200", false},
		"a short answer that the client does not read": {unread, "GET", "/bytes/1000", "200", false},
		"a body that does not come":                    {other, "POST", "/", "408", false},
		"an answer that does not go on":                {other, "GET", "/hang", "200", false},
		"the same by a rule without a limit":           {other, "GET", "/patient/hang", "200", true},
		"the same by a rule with a longer one":         {other, "GET", "/longer/hang", "200", true},
		"a body that does not come, without a limit":   {other, "POST", "/patient/", "", true},
	}
	ids, n := map[string]uint32{}, 0
	for what, s := range streams {
		id, err := s.on.Ask(n, s.method, s.path)
		if err != nil {
			t.Fatal(err)
		}
		ids[what] = id
		n++
	}
	c, socket := d.dial(t)
	send(t, c, "GET /socket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp, err := http.ReadResponse(socket, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	eventually(t, 10*time.Second, func() error {
		var errs []error
		for what, s := range streams {
			status, resets, _ := s.on.Seen()
			_, reset := resets[ids[what]]
			if !s.lives && !reset {
				errs = append(errs, fmt.Errorf("%s: status %q, and it goes on", what, status[ids[what]]))
			}
			if status[ids[what]] != s.status {
				errs = append(errs, fmt.Errorf("%s: status %q, want %q", what, status[ids[what]], s.status))
			}
		}
		return errors.Join(errs...)
	})
	if took := time.Since(begun); took < limit {
		t.Errorf("they ended after %v", took)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if b, err := io.ReadAll(socket); err != nil {
		t.Errorf("a silent WebSocket: %q, %v", b, err)
	}
	for what, s := range streams {
		if _, resets, _ := s.on.Seen(); s.lives && (resets[ids[what]] != 0 || s.on.Over()) {
			t.Errorf("%s: it ended", what)
		}
	}
	if n := p.stat(t, `^http\.gw/shop/public/80\.downstream_rq_idle_timeout`); n < 4 {
		t.Errorf("%d streams ended for being silent", n)
	}
}

// TestLimitsOfStrangers: clients of a Gateway, and those of a sidecar that come without mutual TLS, may have
// little at a time; the mesh's own may have much.
func TestLimitsOfStrangers(t *testing.T) {
	limits := func(d door) string {
		f, out := d.framed(t), ""
		eventually(t, 5*time.Second, func() error {
			_, _, s := f.Seen()
			if len(s) == 0 {
				return errors.New("no settings have come")
			}
			out = fmt.Sprintf("%d streams, %d bytes", s[http2.SettingMaxConcurrentStreams], s[http2.SettingInitialWindowSize])
			return nil
		})
		return out
	}
	slow := map[string]*bufio.Reader{} // headers that do not end
	for _, d := range ways(t, verbatim) {
		want := "100 streams, 65536 bytes"
		if d.name == "mesh" || d.name == "out" {
			want = "65536 streams, 262144 bytes"
		}
		if got := limits(d); got != want {
			t.Errorf("%s: %s, want %s", d.name, got, want)
		}
		if d.name == "in" || d.name == "edge" {
			var c net.Conn
			c, slow[d.name] = d.dial(t)
			send(t, c, "GET / HTTP/1.1\r\nHost: h\r\nX-A: ")
		}
	}
	for name, r := range slow {
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("%s: headers that do not end: %v, %v", name, resp, err)
			continue
		}
		_ = resp.Body.Close()
	}
}
