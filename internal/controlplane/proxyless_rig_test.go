// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	xdscreds "google.golang.org/grpc/credentials/xds"
	"google.golang.org/grpc/peer"
	grpcxds "google.golang.org/grpc/xds"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/controlplane/ca"
	"tulle.dev/tulle/internal/controlplane/intake"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/dataplane/client"
	"tulle.dev/tulle/internal/dataplane/identity"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/test/apps/report"
)

// plane is a control plane in this process, all of it but the API server: graph, store, ADS over mutual
// TLS, and the signing of certificates. What clients connect with is what a pod would.
type plane struct {
	t         *testing.T
	feed      *feed
	batches   chan []source.Event
	authority *ca.Authority
	server    *xds.Server
	trust     string // file with the roots
	ads, sign string // host:port
	rev       int64
}

// tokensByName vouches for every token, which says whose it is: NAMESPACE/ACCOUNT/POD/UID.
type tokensByName struct{}

func (tokensByName) Review(_ context.Context, token, audience string) (ca.Token, bool, error) {
	p := strings.Split(token, "/")
	if len(p) != 4 || audience != names.TokenAudience("cluster.local") {
		return ca.Token{}, false, nil
	}
	return ca.Token{Namespace: p[0], ServiceAccount: p[1], Pod: p[2], PodUID: p[3]}, true, nil
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{t: t, feed: newFeed(t), batches: make(chan []source.Event), trust: filepath.Join(t.TempDir(), "ca.crt")}
	dir := t.TempDir()
	p.writeAuthority(dir)
	var err error
	p.authority, err = ca.NewAuthority(ca.AuthorityOptions{Dir: dir, TrustFile: p.trust, TrustDomain: "cluster.local", DNSNames: []string{"localhost"}})
	p.must(err)
	p.must(p.authority.Ready())
	server, err := xds.NewServer(p.feed.store, p.feed.serverOptions())
	p.must(err)
	p.server, p.feed.relocate, p.feed.recheck = server, server.Relocate, server.Recheck
	p.feed.ledger = status.NewLedger(server, "0.3.0")
	signer, err := ca.NewSigner(ca.SignerOptions{
		Authority: p.authority, Tokens: tokensByName{}, TrustDomain: "cluster.local", Pod: p.feed.workload, AnyAddress: p.feed.anyAddress, Log: logr.Discard(),
	})
	p.must(err)
	mux := http.NewServeMux()
	mux.Handle(protocol.SignPath, signer)
	desk := bounded.NewServer(mux, p.authority.PublicTLS())

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 3)
	listen := func(serve func(net.Listener) error) string {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		p.must(err)
		go func() { ended <- serve(l) }()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return net.JoinHostPort("localhost", port)
	}
	p.ads = listen(func(l net.Listener) error {
		in := intake.New(intake.Options{Request: server.MaxRequest, CountedAs: p.feed.countedAs})
		return server.Serve(ctx, in.Listener(l), grpc.Creds(in.Credentials(credentials.NewTLS(p.authority.ServerTLS()))))
	})
	p.sign = listen(func(l net.Listener) error {
		if err := desk.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	go func() { ended <- p.feed.run(ctx, p.batches, p.authority.Trust, server) }()
	t.Cleanup(func() {
		cancel()
		_ = desk.Close()
		for range 3 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	p.send(event(source.Mesh, "", "tulle", &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}))
	return p
}

func (p *plane) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// writeAuthority makes what cert-manager would: a root and an intermediate.
func (p *plane) writeAuthority(dir string) {
	p.t.Helper()
	make509 := func(name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		p.must(err)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		}
		if parent == nil {
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		p.must(err)
		c, err := x509.ParseCertificate(der)
		p.must(err)
		return c, key
	}
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	root, rootKey := make509("root", nil, nil)
	inter, key := make509("intermediate", root, rootKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	p.must(err)
	for file, b := range map[string][]byte{
		filepath.Join(dir, "tls.crt"): encode("CERTIFICATE", inter.Raw), filepath.Join(dir, "tls.key"): encode("PRIVATE KEY", der),
		filepath.Join(dir, "ca.crt"): encode("CERTIFICATE", root.Raw), p.trust: encode("CERTIFICATE", root.Raw),
	} {
		p.must(os.WriteFile(file, b, 0o600))
	}
}

func event(k source.Kind, namespace, name string, o any) source.Event {
	return source.Event{Kind: k, Key: model.Key{Namespace: namespace, Name: name}, Object: o}
}

// send takes events through the graph; it returns when a second, empty batch was taken, too.
func (p *plane) send(events ...source.Event) {
	p.t.Helper()
	for _, b := range [][]source.Event{events, nil} {
		select {
		case p.batches <- b:
		case <-time.After(10 * time.Second):
			p.t.Fatal("the control plane takes no more events")
		}
	}
}

// pod is one that runs on this machine.
func (p *plane) pod(namespace, name, account, kind string) source.Event {
	return event(source.Pod, namespace, name, model.Workload{
		Key: model.Key{Namespace: namespace, Name: name}, UID: "uid-" + name, Node: "n1", ServiceAccount: account, Kind: kind, Ready: true,
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
	})
}

// signerFor is what a pod of that account asks for its certificate with.
func (p *plane) signerFor(namespace, name, account string) *identity.Signer {
	p.t.Helper()
	token := filepath.Join(p.t.TempDir(), "token")
	p.must(os.WriteFile(token, []byte(strings.Join([]string{namespace, account, name, "uid-" + name}, "/")), 0o600))
	return &identity.Signer{Addr: p.sign, Host: "localhost", TokenFile: token, TrustFile: p.trust, Pod: name, PodUID: "uid-" + name}
}

// backend is a server that a Service leads to.
type backend struct {
	port uint16
	*grpc.Server
}

// backend runs a server in a pod with a proxy: it wants a certificate of the mesh and has one.
func (p *plane) backend(namespace, name, account string) backend {
	p.t.Helper()
	p.send(p.pod(namespace, name, account, names.KindSidecar))
	cert, err := p.signerFor(namespace, name, account).Sign(p.t.Context(), 0)
	p.must(err)
	roots, err := identity.ReadRoots(p.trust)
	p.must(err)
	return p.listen(name, grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert.TLS}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
	})))
}

// listen runs a server that says its name, who called, and by which name in TLS.
func (p *plane) listen(name string, opts ...grpc.ServerOption) backend {
	p.t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	p.must(err)
	srv := grpc.NewServer(opts...)
	answer := func(ctx context.Context) report.Report {
		r := report.Report{Service: name}
		if from, ok := peer.FromContext(ctx); ok {
			if info, ok := from.AuthInfo.(credentials.TLSInfo); ok && info.SPIFFEID != nil {
				r.Caller, r.Protocol = info.SPIFFEID.String(), info.State.ServerName
			}
		}
		return r
	}
	report.Register(srv, "echo.Echo", "Call", answer)
	report.Register(srv, "echo.Other", "Call", answer)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }() // it is stopped, which is no error
	p.t.Cleanup(func() { srv.Stop(); <-done })
	return backend{uint16(l.Addr().(*net.TCPAddr).Port), srv} //nolint:gosec // a port
}

// service is a Service with a port 80 that leads to pods of its namespace, each on its own port.
func (p *plane) service(namespace, name string, pods map[string]backend) []source.Event {
	k := model.Key{Namespace: namespace, Name: name}
	p.rev++
	out := []source.Event{
		event(source.Namespace, "", namespace, model.Namespace{Name: namespace, Meshed: true}),
		event(source.Service, namespace, name, model.Service{
			Key: k, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{11, 0, byte(len(name)), name[len(name)-1]})},
			Ports: []model.ServicePort{{Name: "grpc", Port: 80, Protocol: model.GRPC, Declared: true}},
		}),
	}
	for pod, b := range pods {
		slice := name + "-" + pod
		out = append(out, event(source.EndpointSlice, namespace, slice, model.Slice{
			Key: model.Key{Namespace: namespace, Name: slice}, Service: k, Ports: []model.SlicePort{{Name: "grpc", Port: b.port}},
			Endpoints: []model.SliceEndpoint{{
				Addr: netip.MustParseAddr("127.0.0.1"), Pod: model.Key{Namespace: namespace, Name: pod}, Node: "n1", Ready: true, Serving: true,
			}},
		}))
	}
	return out
}

// program is an application without a proxy: its pod, and the files that `tulle-proxy client` keeps.
func (p *plane) program(namespace, name string) (bootstrap []byte) {
	p.t.Helper()
	p.send(p.pod(namespace, name, "batch", names.KindClient))
	s := p.signerFor(namespace, name, "batch")
	dir := p.t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- client.Run(ctx, client.Settings{
			Pod: name, PodUID: "uid-" + name, Namespace: namespace, Host: "localhost", Sign: p.sign, ADS: p.ads,
			TokenFile: s.TokenFile, TrustFile: p.trust, Dir: dir,
		}, slog.New(slog.DiscardHandler))
	}()
	p.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Error(err)
		}
	})
	eventually(p.t, "the program's files are written", func() error { return client.Ready(dir) })
	b, err := os.ReadFile(filepath.Join(dir, client.BootstrapFile))
	p.must(err)
	return b
}

// dial is what a program does: gRPC's own client, which knows nothing of Tulle.
func (p *plane) dial(bootstrap []byte, target string, plaintext bool) *grpc.ClientConn {
	p.t.Helper()
	builder, err := grpcxds.NewXDSResolverWithConfigForTesting(bootstrap)
	p.must(err)
	creds := insecure.NewCredentials()
	if !plaintext {
		creds, err = xdscreds.NewClientCredentials(xdscreds.ClientOptions{FallbackCreds: insecure.NewCredentials()})
		p.must(err)
	}
	conn, err := grpc.NewClient("xds:///"+target, grpc.WithResolvers(builder), grpc.WithTransportCredentials(creds))
	p.must(err)
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("waited 30 s until %s: %v", what, err)
}

// call makes one call and says which server answered.
func call(ctx context.Context, conn *grpc.ClientConn, method string) (report.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, 25*time.Second)
	defer cancel()
	return report.Invoke(ctx, conn, method)
}

// shares makes calls and counts who answered them.
func shares(t *testing.T, conn *grpc.ClientConn, method string, calls int) map[string]int {
	t.Helper()
	out := map[string]int{}
	for range calls {
		r, err := call(t.Context(), conn, method)
		if err != nil {
			t.Fatal(err)
		}
		out[r.Service]++
	}
	return out
}

// near wants a share of calls to be what its weight says, give or take six standard deviations.
func near(t *testing.T, got map[string]int, name string, percent int) {
	t.Helper()
	n := 0
	for _, c := range got {
		n += c
	}
	want := n * percent / 100
	if d := got[name] - want; d*d > 36*n*percent*(100-percent)/10000 {
		t.Errorf("%s: got %v, want about %d of %d", name, got, want, n)
	}
}
