// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/pipeline"
	"tulle.dev/tulle/internal/controlplane/rights"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/dataplane/relay"
	agentwire "tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// plane is the real control plane but for its informers and its status: objects go in, proxies connect to it
// through the real relay.
type plane struct {
	*mesh
	graph  *pipeline.Graph
	store  *xds.Store
	server *xds.Server
	addr   string
	who    map[string]rights.Proxy // by the name in its certificate
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{mesh: newMesh(t), who: map[string]rights.Proxy{}}
	p.graph = pipeline.New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	p.store = xds.NewStore(
		xds.Type{URL: protocol.ScopeType, Leading: true}, xds.Type{URL: envoy.SecretType},
		xds.Type{URL: envoy.ClusterType, Whole: true}, xds.Type{URL: envoy.EndpointsType}, xds.Type{URL: envoy.RoutesType},
		xds.Type{URL: envoy.RoutePartType}, xds.Type{URL: envoy.ExtensionType}, xds.Type{URL: envoy.ListenerType, Whole: true},
	)
	var err error
	p.server, err = xds.NewServer(p.store, xds.Options{
		Authenticate: func(ctx context.Context) (xds.Principal, error) {
			from, _ := peer.FromContext(ctx)
			who, ok := p.who[from.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].DNSNames[0]]
			if !ok {
				return nil, errors.New("not a proxy of this test")
			}
			return who, nil
		},
		Authorize: func(who xds.Principal, k xds.Key) bool { return rights.Allow(who.(rights.Proxy), k.Name) },
		OnAck: func(a xds.Ack) {
			if a.Err != "" {
				t.Errorf("refused: %s: %s", a.Key, a.Err)
			}
		},
		ResumeGrace: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(p.pki.roots()))
	own := p.pki.leaf(t, "", "plane")
	g := p.server.NewGRPC(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{own.pair(t)}, MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})))
	go g.Serve(l)
	t.Cleanup(g.Stop)
	return p
}

func (l leaf) pair(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair([]byte(l.chain), []byte(l.key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// set changes objects, all at once.
func (p *plane) set(t *testing.T, more pipeline.Inputs, events ...source.Event) {
	t.Helper()
	if _, err := p.store.Commit(p.graph.Apply(events, more).Resources...); err != nil {
		t.Fatal(err)
	}
}

// relayed is an Envoy behind a relay.
type relayed struct {
	*proxy
	loop *relay.Loop
}

// proxy starts an Envoy with its relay in a namespace.
func (p *plane) proxy(t *testing.T, ns *netns, node, scope, id string, who rights.Proxy) *relayed {
	t.Helper()
	p.who[node] = who
	cert, pool := p.pki.leaf(t, id, node), x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(p.pki.roots()))
	config := &tls.Config{Certificates: []tls.Certificate{cert.pair(t)}, RootCAs: pool, ServerName: "plane", MinVersion: tls.VersionTLS13}
	socket := filepath.Join(shared(t), "relay.sock")
	log := slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(cancel)
	r := &relayed{loop: relay.NewLoop(scope, agentwire.Node(node, "test", nil), func(protocol.Proxy) {}, log)}
	go r.loop.Run(ctx)
	go func() { _ = r.loop.Serve(ctx, socket) }()
	go r.loop.Connect(ctx, relay.Upstream{Addr: p.addr, Dial: dialTLS(p.addr), TLS: func() (*tls.Config, error) { return config, nil }, Log: log})
	r.loop.SetLocal(agentwire.SecretType, agentwire.NewResource(agentwire.SecretType, names.Identity, "1", agentwire.TLSSecret(names.Identity, []byte(cert.chain), []byte(cert.key))))
	eventually(t, 5*time.Second, func() error { return os.Chmod(socket, 0o666) })
	r.proxy = launch(t, p.bin, ns, node, socket, limits{})
	return r
}

// testLog writes to the test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", b)
	return len(b), nil
}

// settle waits until the proxies have acknowledged all that there is for them. That clusters are removed,
// which a relay puts off for some seconds, is waited for only at first.
func (p *plane) settle(t *testing.T, first bool, proxies ...*relayed) {
	t.Helper()
	eventually(t, 20*time.Second, func() error {
		for _, r := range proxies {
			if w := r.loop.Waiting(); w != "" && first {
				return fmt.Errorf("%s: %s", r.node, w)
			}
		}
		for _, url := range []string{protocol.ScopeType, envoy.RoutePartType, envoy.SecretType, envoy.ClusterType, envoy.EndpointsType, envoy.ExtensionType, envoy.ListenerType, envoy.RoutesType} {
			if n := len(p.server.Unsettled(url, 0)); n > 0 {
				return fmt.Errorf("%d proxies do not have every %s", n, url)
			}
		}
		return nil
	})
}

// Objects.

func object(kind source.Kind, namespace, name string, o any) source.Event {
	return source.Event{Kind: kind, Key: model.Key{Namespace: namespace, Name: name}, Object: o}
}

// dialTLS connects to one address, as an agent does to the one that answers.
func dialTLS(addr string) func(context.Context, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, config *tls.Config) (net.Conn, error) {
		return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	}
}
