// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/dataplane/identity"
	"tulle.dev/tulle/internal/names"
)

// openFrom opens a stream with a certificate from an address of this machine, and asks for the roots.
func (p *plane) openFrom(cert tls.Certificate, from string) (discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, error) {
	p.t.Helper()
	roots, err := identity.ReadRoots(p.trust)
	p.must(err)
	_, port, err := net.SplitHostPort(p.ads)
	p.must(err)
	conn, err := grpc.NewClient("passthrough:///127.0.0.1:"+port, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: roots, ServerName: "localhost",
	})), grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, "tcp4", addr)
	}))
	p.must(err)
	p.t.Cleanup(func() { _ = conn.Close() })
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(p.t.Context())
	if err != nil {
		return nil, err
	}
	if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: secretURL, ResourceNamesSubscribe: []string{names.Trust}}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err // EOF: the stream was ended, and Recv returns why
	}
	_, err = stream.Recv()
	return stream, err
}

const secretURL = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

// TestStolenKey: a pod's key opens a stream from the pod itself and from nowhere else, and what was opened
// with it ends with the pod, and when the pod is not any more what the certificate says.
func TestStolenKey(t *testing.T) {
	p := newPlane(t)
	at := func(addr string, change func(*model.Workload)) source.Event {
		e := p.pod("shop", "web", "web", names.KindSidecar)
		w := e.Object.(model.Workload)
		w.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr(addr)} // it asks the signer from the first
		if change != nil {
			change(&w)
		}
		e.Object = w
		return e
	}
	p.send(at("127.0.0.7", nil))
	cert, err := p.signerFor("shop", "web", "web").Sign(t.Context(), 0)
	p.must(err)
	if _, err := p.openFrom(cert.TLS, "127.0.0.8"); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "not an address of that pod") {
		t.Errorf("from another pod: %v", err)
	}
	deleted := source.Event{Kind: source.Pod, Key: model.Key{Namespace: "shop", Name: "web"}}
	for what, c := range map[string]struct {
		event source.Event
		says  string
	}{
		"deleted":         {deleted, "is not known"},
		"made again":      {at("127.0.0.7", func(w *model.Workload) { w.UID = "other" }), "is not known"},
		"ended":           {at("127.0.0.7", func(w *model.Workload) { w.Ended = true }), "has ended"},
		"another account": {at("127.0.0.7", func(w *model.Workload) { w.ServiceAccount = "other" }), "not for its account"},
		"no proxy":        {at("127.0.0.7", func(w *model.Workload) { w.Kind = "" }), "not for its account and kind"},
	} {
		p.send(at("127.0.0.7", nil))
		stream, err := p.openFrom(cert.TLS, "127.0.0.7")
		if err != nil {
			t.Fatalf("%s: from the pod itself: %v", what, err)
		}
		// Changes that say nothing of who the pod is.
		p.send(at("127.0.0.7", func(w *model.Workload) {
			w.Ready, w.Version = false, "0.9.0"
		}))
		p.send(at("127.0.0.9", nil))
		if n := len(p.server.Streams()); n != 1 {
			t.Errorf("%s: %d streams after changes that concern none", what, n)
		}
		p.send(c.event)
		if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := p.openFrom(cert.TLS, "127.0.0.7"); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: a new stream: %v", what, err)
		}
		eventually(t, "no stream is left", func() error {
			if n := len(p.server.Streams()); n > 0 {
				return context.DeadlineExceeded
			}
			return nil
		})
	}
}

// TestSourceAddressCheck: in a cluster that rewrites the source addresses of pods, refusals name the setting by which
// pods get certificates and configuration, and a change of it is followed without a restart.
func TestSourceAddressCheck(t *testing.T) {
	p := newPlane(t)
	set := func(check v1alpha1.SourceAddressCheck) {
		m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
		m.Spec.ControlPlane.SourceAddressCheck = check
		p.send(event(source.Mesh, "", "tulle", m))
	}
	pod := p.pod("shop", "web", "web", names.KindSidecar)
	w := pod.Object.(model.Workload)
	w.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.7")}
	pod.Object = w
	p.send(pod)
	signer := p.signerFor("shop", "web", "web")
	for _, check := range []v1alpha1.SourceAddressCheck{"", v1alpha1.SourceAddressCheckEnabled} {
		set(check)
		if _, err := signer.Sign(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "sourceAddressCheck: Disabled") {
			t.Errorf("%q: signed, or the message does not name the setting: %v", check, err)
		}
	}
	set(v1alpha1.SourceAddressCheckDisabled)
	cert, err := signer.Sign(t.Context(), 0)
	p.must(err)
	stream, err := p.openFrom(cert.TLS, "127.0.0.8")
	p.must(err)
	leaf, err := x509.ParseCertificate(cert.TLS.Certificate[0])
	p.must(err)
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	if one, again := p.feed.countedAs(state), p.feed.countedAs(state); !one.IsValid() || one != again {
		t.Errorf("the pod's connections are counted for %v, then for %v", one, again)
	}

	// Nothing else is given up.
	if _, err := p.signerFor("shop", "web", "other").Sign(t.Context(), 0); err == nil {
		t.Error("a certificate for another account was signed")
	}

	set(v1alpha1.SourceAddressCheckEnabled)
	if n := len(p.server.Streams()); n != 1 {
		t.Errorf("%d streams after the check was enabled again", n)
	}
	if _, err := p.openFrom(cert.TLS, "127.0.0.8"); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "sourceAddressCheck: Disabled") {
		t.Errorf("a new stream: %v", err)
	}
	if a := p.feed.countedAs(state); a.IsValid() {
		t.Errorf("connections of all pods are counted for their own address, and this one's for %v", a)
	}
	p.must(stream.CloseSend())
}

// TestGatewayOfAStream: the stream of a Gateway's proxy ends when its pod is said to be another Gateway's.
func TestGatewayOfAStream(t *testing.T) {
	f := newFeed(t)
	pod := func(gateway string) model.Workload {
		return model.Workload{Key: model.Key{Namespace: "shop", Name: "gw-1"}, UID: "u", Kind: names.KindGateway, Gateway: gateway, ServiceAccount: names.GatewayResource("gw")}
	}
	c := connected{uid: "u", account: names.GatewayResource("gw")}
	c.Namespace, c.Pod, c.Kind, c.Gateway = "shop", "gw-1", names.KindGateway, "gw"
	f.workloads[keyOf(c)] = pod("gw")
	if err := f.verify(c); err != nil {
		t.Errorf("its own: %v", err)
	}
	for _, gateway := range []string{"other", ""} {
		f.workloads[keyOf(c)] = pod(gateway)
		if err := f.verify(c); err == nil {
			t.Errorf("the pod is of Gateway %q: it may stay", gateway)
		}
	}
}

// TestStreamsOfAPod: agents of both slots fit, and an application with a stream for each of its targets.
func TestStreamsOfAPod(t *testing.T) {
	of := func(kind string) xds.Owner {
		c := connected{notAfter: time.Unix(1, 0)}
		c.Namespace, c.Pod, c.Kind = "shop", "web", kind
		if !expires(c).Equal(time.Unix(1, 0)) {
			t.Error("its stream does not end with its certificate")
		}
		return owner(c)
	}
	key := model.Key{Namespace: "shop", Name: "web"}
	if got, want := of(names.KindSidecar), (xds.Owner{Key: key, Streams: proxyStreams, Group: "shop"}); got != want {
		t.Errorf("a sidecar: %+v, want %+v", got, want)
	}
	if got, want := of(names.KindClient), (xds.Owner{Key: key, Streams: clientStreams, Group: "shop"}); got != want {
		t.Errorf("a client: %+v, want %+v", got, want)
	}
	if addressOf(&net.UnixAddr{Name: "x"}).IsValid() || addressOf(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}).Unmap() != netip.MustParseAddr("127.0.0.1") {
		t.Error("addresses are not read")
	}
}
