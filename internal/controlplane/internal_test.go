// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/names"
)

func internalPaths() []string {
	return []string{names.PathProxies, names.PathTrust, names.PathTranslation, names.PathTranslation + "?type=x&name=y", names.PathProgress + "?seq=0"}
}

// TestMonitorIsBare: without credentials one gets health and metrics, and nothing else.
func TestMonitorIsBare(t *testing.T) {
	p := newPlane(t)
	r := &replica{feed: p.feed, authority: p.authority, server: p.server, metrics: prometheus.NewRegistry()}
	mux := r.monitorPaths()
	for _, path := range []string{names.PathLive, names.PathReady, names.PathMetrics} {
		if w := get(t, mux, path); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	for _, path := range append(internalPaths(), "/", "/debug/", "/debug/pprof/", "/internal/") {
		if w := get(t, mux, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestDebugPathsAreGuarded: each path of the internal port is behind the guard, for its own purpose.
func TestDebugPathsAreGuarded(t *testing.T) {
	p := newPlane(t)
	r := &replica{feed: p.feed, authority: p.authority, server: p.server}
	asked := map[string]string{}
	refuse := func(subresource string, _ http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked[r.URL.Path] = subresource
			http.Error(w, "no", http.StatusForbidden)
		})
	}
	mux := http.NewServeMux()
	r.debugPaths(mux, refuse)
	for _, path := range internalPaths() {
		if w := get(t, mux, path); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	want := map[string]string{names.PathProxies: "debug", names.PathTrust: "debug", names.PathTranslation: "debug", names.PathProgress: "progress"}
	for path, purpose := range want {
		if asked[path] != purpose {
			t.Errorf("%s is for %q", path, asked[path])
		}
	}
	open := http.NewServeMux()
	r.debugPaths(open, func(_ string, h http.Handler) http.Handler { return h })
	for _, path := range internalPaths() {
		if w := get(t, open, path); w.Code != http.StatusOK && !strings.Contains(path, "name=y") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	return w
}

// TestInternalTLS: the port speaks TLS 1.3 and HTTP/1.1 only, and another replica verifies it by the mesh's
// roots and its name.
func TestInternalTLS(t *testing.T) {
	p := newPlane(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	s := bounded.NewServer(http.NotFoundHandler(), p.authority.InternalTLS())
	go func() { _ = s.ServeTLS(bounded.Listen(l, bounded.Connections{Total: 4, PerAddress: 4}), "", "") }()
	defer s.Close()
	config, err := p.authority.PeerTLS()
	p.must(err)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	resp, err := client.Get("https://" + l.Addr().String())
	p.must(err)
	_ = resp.Body.Close()
	if resp.ProtoMajor != 1 || resp.TLS.Version < 0x0304 {
		t.Errorf("%s, TLS %x", resp.Proto, resp.TLS.Version)
	}
	stranger := newPlane(t)
	if config, err = stranger.authority.PeerTLS(); err != nil {
		t.Fatal(err)
	}
	client.Transport = &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	if resp, err := client.Get("https://" + l.Addr().String()); err == nil {
		_ = resp.Body.Close()
		t.Error("a replica of another mesh was believed")
	}
	// Plaintext gets net/http's hint and no answer.
	if resp, err := http.Get("http://" + l.Addr().String()); err == nil {
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
}

// TestOneTranslation: fifty askers cost one computation, and so does each commit.
func TestOneTranslation(t *testing.T) {
	f := newFeed(t)
	fill(t, f, shop(20))
	r := &replica{feed: f}
	ask := func() {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if w := get(t, http.HandlerFunc(r.translation), names.PathTranslation); w.Code != http.StatusOK || w.Body.Len() < 1000 {
					t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
				}
			})
		}
		wg.Wait()
	}
	ask()
	first := get(t, http.HandlerFunc(r.translation), names.PathTranslation).Body.String()
	if r.told.made != 1 {
		t.Errorf("made %d times", r.told.made)
	}
	fill(t, f, shop(21))
	ask()
	if r.told.made != 2 {
		t.Errorf("made %d times after a change", r.told.made)
	}
	if get(t, http.HandlerFunc(r.translation), names.PathTranslation).Body.String() == first {
		t.Error("a change is not shown")
	}
}

// TestAtMost: waiters beyond the bound are refused at once, and there is room again when one ends.
func TestAtMost(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h := atMost(func() int { return 2 }, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave }))
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { get(t, h, "/") })
		<-entered
	}
	if w := get(t, h, "/"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a third one waits: %d", w.Code)
	}
	close(leave)
	wg.Wait()
	wg.Go(func() { get(t, h, "/") })
	<-entered
	wg.Wait()
}

// TestAsked: a replica is asked in plaintext only if the Service shows that it has no other port, which no
// one on the network can say.
func TestAsked(t *testing.T) {
	const self, peer = "192.0.2.1", "192.0.2.2"
	list := func(name, service string, internal bool, addresses ...string) source.Event {
		s := model.Slice{Key: model.Key{Namespace: "tulle-system", Name: name}, Service: model.Key{Namespace: "tulle-system", Name: service}}
		s.Ports = []model.SlicePort{{Name: "monitor", Port: names.PortMonitor}}
		if internal {
			s.Ports = append(s.Ports, model.SlicePort{Name: names.InternalPortName, Port: names.PortInternal})
		}
		for _, a := range addresses {
			s.Endpoints = append(s.Endpoints, model.SliceEndpoint{Addr: netip.MustParseAddr(a), Ready: true})
		}
		return source.Event{Kind: source.EndpointSlice, Key: s.Key, Object: s}
	}
	serving := func(addresses ...string) source.Event {
		return list("s", names.ControlPlaneService, false, addresses...)
	}
	for name, c := range map[string]struct {
		events []source.Event
		want   []status.Peer
	}{
		"both have it":                     {[]source.Event{serving(self, peer), list("r", names.ControlPlaneReplicas, true, self, peer)}, []status.Peer{{Address: self}, {Address: peer}}},
		"the other is of an old release":   {[]source.Event{serving(self), list("r", names.ControlPlaneReplicas, true, self), list("q", names.ControlPlaneReplicas, false, peer)}, []status.Peer{{Address: self}, {Address: peer, Plain: true}}},
		"the Service lacks it":             {[]source.Event{serving(self, peer), list("r", names.ControlPlaneReplicas, false, self, peer)}, nil},
		"not listed among replicas yet":    {[]source.Event{serving(self, peer), list("r", names.ControlPlaneReplicas, true, self)}, []status.Peer{{Address: self}}},
		"its address was an old replica's": {[]source.Event{list("q", names.ControlPlaneReplicas, false, peer), list("r", names.ControlPlaneReplicas, true, self, peer)}, []status.Peer{{Address: self}, {Address: peer}}},
		"it was replaced by a new one":     {[]source.Event{list("q", names.ControlPlaneReplicas, false, peer), list("r", names.ControlPlaneReplicas, true, self), list("q", names.ControlPlaneReplicas, true, peer)}, []status.Peer{{Address: self}, {Address: peer}}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &feed{system: "tulle-system", self: self, peers: peers{}, moved: make(chan struct{})}
			for _, e := range c.events {
				f.note(e, nil)
			}
			if got := f.replicas(); !slices.Equal(got, c.want) {
				t.Errorf("%s", fmt.Sprint(got, ", want ", c.want))
			}
		})
	}
}
