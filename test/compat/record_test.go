// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package compat

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/dataplane/identity"
	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

var (
	record  = flag.String("record", "", "write what agent and control plane of this release say into that folder")
	release = flag.String("release", "test", "what the recorded agent calls itself")
)

// TestRecord lets a relay and a control plane of this source tree talk. Without -record it shows that
// the recording itself works.
func TestRecord(t *testing.T) {
	dir := *record
	if dir == "" {
		dir = t.TempDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	store := xds.NewStore(types()...)
	commit(t, store, world(model.HTTP)...)
	server, acks := serve(t, store)
	a := newAgent(*release)
	var steps []step
	stream := dial(t, server)
	steps = append(steps, step{kind: connect})
	a.open()
	steps = talk(t, a, stream, steps)
	commit(t, store, world(model.TCP)[2])
	steps = append(steps, step{kind: change})
	steps = talk(t, a, stream, steps)
	stream.close()
	stream = dial(t, server)
	steps = append(steps, step{kind: connect})
	a.open()
	steps = talk(t, a, stream, steps)
	if len(a.holds) != 4 || len(a.refused) != 1 || len(acks.all()) == 0 {
		t.Fatalf("Envoy holds %d and refused %d, of %d steps; the control plane heard %v", len(a.holds), len(a.refused), len(steps), acks.all())
	}
	write(t, filepath.Join(dir, "stream.txt"), steps)
	if err := os.WriteFile(filepath.Join(dir, "sign-request.json"), signRequest(t), 0o644); err != nil {
		t.Fatal(err)
	}
}

// talk sends what the agent has to say and gives it what comes, until nothing comes for a while.
func talk(t *testing.T, a *agent, s *stream, steps []step) []step {
	t.Helper()
	for {
		for _, m := range a.up {
			steps = append(steps, step{request, m})
			s.send(t, m)
		}
		a.up = nil
		b, ok := s.receive(time.Second)
		if !ok {
			return steps
		}
		steps = append(steps, step{response, b})
		if err := a.take(b); err != nil {
			t.Fatal(err)
		}
	}
}

// types are served in the order in which internal/controlplane serves them.
func types() []xds.Type {
	return []xds.Type{
		{URL: protocol.ScopeType, Leading: true},
		{URL: wire.SecretType},
		{URL: wire.ClusterType},
		{URL: wire.EndpointType},
		{URL: wire.RouteType},
		{URL: wire.ListenerType},
	}
}

// world is a Service: its cluster, endpoints, listener and routes, and the scope of a pod that sees it.
func world(p model.Protocol) []xds.Resource {
	k := model.PortKey{Service: model.Key{Namespace: "shop", Name: "cart"}, Port: 80}
	name := names.Out{Namespace: "shop", Service: "cart", Port: 80}.String()
	b := model.WeightedBackend{Backend: k, Weight: 1}
	f := model.Frontend{Key: k, Addresses: []string{"198.19.0.1"}, Protocol: p}
	if p == model.TCP {
		f.Backends = []model.WeightedBackend{b}
	}
	var out []xds.Resource
	for _, r := range []envoy.Resource{
		envoy.Cluster(model.Backend{Key: k, Protocol: model.HTTP, Transport: model.Plain}),
		envoy.Endpoints(model.Endpoints{Key: k, List: []model.Endpoint{{Addr: netip.MustParseAddrPort("198.18.0.1:8080")}}}),
		envoy.Listener(f),
		envoy.Routes(model.RouteTable{Name: name, Hosts: []model.VirtualHost{{Domains: []string{"*"}, Rules: []model.Rule{{Backends: []model.WeightedBackend{b}}}}}}),
	} {
		body, err := r.Body()
		if err != nil {
			panic(err)
		}
		out = append(out, xds.Resource{Key: xds.Key{TypeURL: r.TypeURL, Name: r.Name}, Body: body})
	}
	scope := `{"clusters":["` + name + `"],"listeners":["` + name + `"]}`
	return append(out, xds.Resource{Key: xds.Key{TypeURL: protocol.ScopeType, Name: names.ScopeSidecar("shop", "web")}, Body: []byte(scope)})
}

func commit(t *testing.T, store *xds.Store, list ...xds.Resource) {
	t.Helper()
	var changes []xds.Change
	for _, r := range list {
		changes = append(changes, xds.Set(r))
	}
	if _, err := store.Commit(changes...); err != nil {
		t.Fatal(err)
	}
}

// serve runs the control plane's server on a loopback address.
func serve(t *testing.T, store *xds.Store) (address string, heard *acks) {
	t.Helper()
	heard = &acks{}
	s, err := xds.NewServer(store, xds.Options{
		Authenticate: func(context.Context) (xds.Principal, error) { return "web", nil },
		Authorize:    func(xds.Principal, xds.Key) bool { return true },
		OnAck:        heard.add,
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), heard
}

// stream is an agent's stream, in bytes.
type stream struct {
	grpc.ClientStream
	conn *grpc.ClientConn
	in   chan []byte
	err  chan error
}

func dial(t *testing.T, address string) *stream {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{})), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c, err := conn.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, wire.DeltaMethod)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{ClientStream: c, conn: conn, in: make(chan []byte, 64), err: make(chan error, 1)}
	go func() {
		for {
			var b []byte
			if err := c.RecvMsg(&b); err != nil {
				s.err <- err
				return
			}
			s.in <- b
		}
	}()
	return s
}

func (s *stream) close() { _ = s.conn.Close() }

func (s *stream) send(t *testing.T, m []byte) {
	t.Helper()
	if err := s.SendMsg(m); err != nil {
		t.Fatalf("send: %v; the stream ended with %v", err, <-s.err)
	}
}

// receive waits that long for a response.
func (s *stream) receive(wait time.Duration) ([]byte, bool) {
	select {
	case b := <-s.in:
		return b, true
	case <-time.After(wait):
		return nil, false
	}
}

// signRequest is the body with which an agent of this source tree asks for its certificate.
func signRequest(t *testing.T) []byte {
	t.Helper()
	var body []byte
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		if r.URL.Path != protocol.SignPath || r.Header.Get("Authorization") != "Bearer token" {
			t.Errorf("%s, %v", r.URL, r.Header)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	server.TLS.MinVersion = tls.VersionTLS13 // as the agent asks
	defer server.Close()
	dir := t.TempDir()
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, text := range map[string][]byte{"token": []byte("token\n"), "ca.crt": root} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := identity.Signer{
		Addr: server.Listener.Addr().String(), Host: "example.com", TokenFile: filepath.Join(dir, "token"),
		TrustFile: filepath.Join(dir, "ca.crt"), Pod: "web", PodUID: "0b7a",
	}
	if _, err := s.Sign(t.Context(), 24*time.Hour); err == nil || len(body) == 0 {
		t.Fatalf("nothing was asked: %v", err)
	}
	return body
}
