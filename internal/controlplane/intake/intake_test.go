// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package intake

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/bounded"
)

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s until %s", what)
		}
	}
}

// port is a gRPC server behind an Intake. Its one method takes requests until the client ends.
type port struct {
	t    *testing.T
	in   *Intake
	addr string
	cert tls.Certificate
	pool *x509.CertPool
	free chan struct{} // requests wait for it to be closed; nil: they don't
}

func newPort(t *testing.T, opts Options, free chan struct{}) *port {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "one"}, DNSNames: []string{"one"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p := &port{t: t, cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool: x509.NewCertPool(), free: free}
	p.pool.AddCert(leaf)
	if opts.Request == nil {
		opts.Request = func() int { return 1 << 20 }
	}
	p.in = New(opts)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	srv := grpc.NewServer(grpc.Creds(p.in.Credentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{p.cert}, ClientCAs: p.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}))), grpc.MaxRecvMsgSize(8<<20), grpc.ConnectionTimeout(20*time.Second), grpc.StaticStreamWindowSize(64<<10), grpc.StaticConnWindowSize(1<<20))
	srv.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Test", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Take", ClientStreams: true, ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			for {
				var m wrapperspb.BytesValue
				if err := s.RecvMsg(&m); err != nil {
					if errors.Is(err, io.EOF) {
						return nil
					}
					return err
				}
				if p.free != nil {
					<-p.free
				}
				size := len(m.GetValue())
				Handled(s.Context(), size+4)
				if size == 13 {
					Ended(s.Context())
				}
				if err := s.SendMsg(wrapperspb.Int64(int64(size))); err != nil {
					return err
				}
			}
		},
	}}}, nil)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(p.in.Listener(l)) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// dialFrom connects from an address of this machine.
func (p *port) dialFrom(from string) (net.Conn, error) {
	d := net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return d.DialContext(p.t.Context(), "tcp4", p.addr)
}

func (p *port) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: p.pool, ServerName: "one", Certificates: []tls.Certificate{p.cert}, NextProtos: []string{"h2"}}
}

// take opens a stream as a peer from an address and sends requests of these sizes, each answered.
func (p *port) take(from string, sizes ...int) error {
	conn, err := grpc.NewClient("passthrough:///"+p.addr, grpc.WithTransportCredentials(credentials.NewTLS(p.config())),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return p.dialFrom(from) }))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(p.t.Context(), 25*time.Second)
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Test/Take", grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for _, size := range sizes {
		if err := s.SendMsg(wrapperspb.Bytes(make([]byte, size))); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		var n wrapperspb.Int64Value
		if err := s.RecvMsg(&n); err != nil {
			return err
		}
		if n.GetValue() != int64(size) {
			return fmt.Errorf("%d bytes of %d arrived", n.GetValue(), size)
		}
	}
	return s.CloseSend()
}

// raw is a peer that writes frames of HTTP/2 itself.
type raw struct {
	*http2.Framer
	conn net.Conn
}

// begin opens a stream and announces a message of that size.
func (p *port) begin(from string, message int) (raw, error) {
	c, err := p.dialFrom(from)
	if err != nil {
		return raw{}, err
	}
	p.t.Cleanup(func() { _ = c.Close() })
	conn := tls.Client(c, p.config())
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return raw{}, err
	}
	r := raw{http2.NewFramer(conn, bytes.NewReader(nil)), conn}
	if err := r.WriteSettings(); err != nil {
		return r, err
	}
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":path", "/test.Test/Take"}, {":authority", "one"}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
		if err := e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return r, err
		}
	}
	if err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
		return r, err
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }() // until it is closed
	return r, r.WriteData(1, false, binary.BigEndian.AppendUint32([]byte{0}, uint32(message)))
}

func (p *port) closed(reason string) float64 {
	return testutil.ToFloat64(p.in.closed.WithLabelValues(reason))
}

// TestStrangers: connections that never finish their handshake are bounded, and don't keep a peer out,
// however many addresses they come from.
func TestStrangers(t *testing.T) {
	p := newPort(t, Options{handshakes: 100}, nil)
	for i := range 300 {
		c, err := p.dialFrom(fmt.Sprintf("127.0.1.%d", 1+i%10))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	if err := p.take("127.0.2.1", 10); err != nil {
		t.Errorf("a peer: %v", err)
	}
	if n := p.closed(reasonHandshakes); n < 200 {
		t.Errorf("%v of 300 were closed", n)
	}
}

// TestOneStranger: one address has few handshakes at a time, and not many in a short time; a node's worth of agents
// behind one address, and a mesh that comes back, have theirs.
func TestOneStranger(t *testing.T) {
	p := newPort(t, Options{}, nil)
	for range 2 * handshakesEach {
		c, err := p.dialFrom("127.0.1.1")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	until(t, "the oldest are closed", func() bool { return p.closed(reasonHandshakes) == handshakesEach })
	if err := p.take("127.0.1.1", 10); err != nil {
		t.Errorf("a peer of the same address: %v", err)
	}
	m, now := bounded.NewMeter(rates()), time.Unix(1_000_000, 0)
	n := 0
	for m.Take(netip.MustParseAddr("192.0.2.1"), now) {
		n++
	}
	if n != 200 {
		t.Errorf("%d handshakes of an address at once", n)
	}
	for i := range 1500 {
		if !m.Take(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), now) {
			t.Fatalf("agent %d is refused", i)
		}
	}
}

// TestConnectionsOfAnAddress: the newest count.
func TestConnectionsOfAnAddress(t *testing.T) {
	p := newPort(t, Options{}, nil)
	var all []raw
	for range connections + 5 {
		r, err := p.begin("127.0.1.1", 100)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	until(t, "five are closed", func() bool { return p.closed(reasonConnections) == 5 })
	until(t, "the oldest is", func() bool { return all[0].WritePing(false, [8]byte{}) != nil })
	if err := all[len(all)-1].WritePing(false, [8]byte{}); err != nil {
		t.Errorf("the newest: %v", err)
	}
	if err := p.take("127.0.1.2", 10); err != nil {
		t.Errorf("another address: %v", err)
	}
}

// TestConnectionsOfPods: where pods have an address in common, each has its own bounds.
func TestConnectionsOfPods(t *testing.T) {
	var pods atomic.Uint32
	p := newPort(t, Options{CountedAs: func(s tls.ConnectionState) netip.Addr {
		if len(s.PeerCertificates) == 0 {
			t.Error("no certificate to tell the pod by")
		}
		n := pods.Add(1)
		if n > 2*connections {
			n = 0 // all others are one pod's
		}
		return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
	}}, nil)
	begin := func() raw {
		r, err := p.begin("127.0.1.1", 100)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for range 2 * connections {
		if err := begin().WritePing(false, [8]byte{}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all are connected", func() bool { return p.in.peers.Len() == 2*connections })
	for range connections + 5 {
		begin()
	}
	until(t, "five of one pod are closed", func() bool { return p.closed(reasonConnections) == 5 && p.in.peers.Len() == 3*connections })
}

// TestUnfinishedRequests: many peers that begin large requests and don't finish them hold little together,
// and others still get theirs through.
func TestUnfinishedRequests(t *testing.T) {
	p := newPort(t, Options{Request: func() int { return 8 << 20 }, passes: 2, pass: time.Second}, nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const slow = 20
	for i := range slow {
		r, err := p.begin(fmt.Sprintf("127.0.1.%d", i+1), 8<<20)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for sent, b := 0, make([]byte, 16<<10); sent < 4<<20; sent += len(b) {
				if r.WriteData(1, false, b) != nil {
					return // closed
				}
			}
		}()
	}
	until(t, "some have a pass", func() bool { return p.in.large.Taken() == 2 })
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 48<<20 { //nolint:gosec // fits
		t.Errorf("requests of 8 MiB that do not end make the heap grow by %d MiB", grown>>20)
	}
	if err := p.take("127.0.2.1", 100, 20_000, 100); err != nil {
		t.Errorf("small requests of another: %v", err)
	}
	if err := p.take("127.0.2.2", 7<<20); err != nil {
		t.Errorf("a large request of another: %v", err)
	}
	until(t, "the slow ones are closed", func() bool { return p.closed(reasonSlow) >= slow })
	until(t, "no pass is held", func() bool { return p.in.large.Taken() == 0 })
}

// TestTinyFrames: a request in frames of a byte costs a hundred times its size; the connection is closed.
func TestTinyFrames(t *testing.T) {
	p := newPort(t, Options{}, nil)
	r, err := p.begin("127.0.1.1", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for ; sent < 1<<20 && r.WriteData(1, false, []byte{0}) == nil; sent++ {
	}
	if sent > 1<<18 {
		t.Errorf("%d frames of a byte were taken", sent)
	}
	until(t, "it is counted", func() bool { return p.closed(reasonBytes) == 1 })
}

// TestLargeRequests: peers that come back all at once with large requests get through, one after the other,
// and nothing is counted for ever.
func TestLargeRequests(t *testing.T) {
	p := newPort(t, Options{Request: func() int { return 8 << 20 }, passes: 2}, nil)
	errs := make(chan error)
	for i := range 20 {
		go func() {
			errs <- p.take(fmt.Sprintf("127.0.1.%d", i+1), 2<<20, 50, 1<<20, 100_000, 50)
		}()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := p.in.large.Taken(); n != 0 {
		t.Errorf("%d passes are held", n)
	}
	for _, reason := range []string{reasonBytes, reasonSlow, reasonConnections, reasonHandshakes} {
		if n := p.closed(reason); n != 0 {
			t.Errorf("%v connections were closed: %s", n, reason)
		}
	}
}

// TestEndedStreams: a connection whose stream was ended because of its client is closed, even if the client
// reads nothing.
func TestEndedStreams(t *testing.T) {
	p := newPort(t, Options{}, nil)
	r, err := p.begin("127.0.1.1", 15)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "it is there", func() bool { return p.in.peers.Len() == 1 })
	if err := r.WriteData(1, false, append([]byte{1<<3 | 2, 13}, make([]byte, 13)...)); err != nil {
		t.Fatal(err)
	}
	until(t, "it is closed", func() bool { return p.in.peers.Len() == 0 })
}

// TestManySmallRequests: a long life of small requests is never taken for bytes that are held.
func TestManySmallRequests(t *testing.T) {
	p := newPort(t, Options{}, nil)
	sizes := make([]int, 5000)
	for i := range sizes {
		sizes[i] = 100
	}
	if err := p.take("127.0.1.1", sizes...); err != nil {
		t.Error(err)
	}
	if n := p.closed(reasonBytes) + p.closed(reasonSlow); n != 0 {
		t.Errorf("%v connections were closed", n)
	}
}

// TestTooLarge: what is larger than a request may be ends its connection or its stream.
func TestTooLarge(t *testing.T) {
	p := newPort(t, Options{Request: func() int { return 1 << 20 }}, nil)
	if err := p.take("127.0.1.1", 4<<20); status.Code(err) == codes.OK {
		t.Error("4 MiB were taken")
	}
	if err := p.take("127.0.1.1", 1<<20); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
}

// FuzzFrames reads a connection's bytes in pieces of any size: what is counted depends on the bytes alone,
// and is no more than they announce.
func FuzzFrames(f *testing.F) {
	frame := func(kind byte, size int) []byte {
		return append([]byte{byte(size >> 16), byte(size >> 8), byte(size), kind, 0, 0, 0, 0, 1}, make([]byte, size)...)
	}
	f.Add(append([]byte(preface), append(frame(4, 6), frame(0, 300)...)...), 7)
	f.Add(append([]byte(preface), frame(0, 1)...), 1)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 3)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		if piece < 1 || len(b) > 1<<16 {
			return
		}
		whole, parts := &conn{skip: len(preface)}, &conn{skip: len(preface)}
		bytes, frames := whole.count(b)
		var partBytes, partFrames int
		for rest := b; len(rest) > 0; {
			n := min(piece, len(rest))
			x, y := parts.count(rest[:n])
			partBytes, partFrames = partBytes+x, partFrames+y
			rest = rest[n:]
		}
		if bytes != partBytes || frames != partFrames || frames > len(b)/len(whole.head) {
			t.Errorf("%d bytes in %d frames, in pieces %d in %d", bytes, frames, partBytes, partFrames)
		}
	})
}
