// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// until waits for a condition, which is the only way that these tests wait.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s until %s", what)
		}
	}
}

// noLeaks checks at the end that no goroutine of this package or of gRPC is left.
func noLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		buf := make([]byte, 1<<20)
		left := func() (l []string) {
			for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
				if strings.Contains(g, "controlplane/xds.(") || strings.Contains(g, "grpc.(") || strings.Contains(g, "grpc/internal/transport") {
					l = append(l, g)
				}
			}
			return l
		}
		for deadline := time.Now().Add(10 * time.Second); len(left()) > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("%d goroutines are left:\n%s", len(left()), strings.Join(left(), "\n\n"))
				return
			}
		}
	})
}

// byMetadata takes the principal from the metadata of the call.
func byMetadata(ctx context.Context) (Principal, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if who := md.Get("who"); len(who) == 1 {
		return who[0], nil
	}
	return nil, errors.New("no client certificate")
}

// serve runs a server on loopback and returns its address and a function that ends it.
func serve(t *testing.T, store *Store, opts Options) (srv *Server, addr string, stop func()) {
	t.Helper()
	noLeaks(t)
	if opts.Authenticate == nil {
		opts.Authenticate = byMetadata
	}
	opts.Authorize = permit
	srv, err := NewServer(store, opts)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, l) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return srv, l.Addr().String(), stop
}

func dial(t *testing.T, addr, who string) (discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, *grpc.ClientConn) {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx := t.Context()
	if who != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "who", who)
	}
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream, conn
}

func mustCommit(t *testing.T, s *Store, changes ...Change) {
	t.Helper()
	if _, err := s.Commit(changes...); err != nil {
		t.Fatal(err)
	}
}

func TestOverGRPC(t *testing.T) {
	store := NewStore(testTypes()...)
	var mu sync.Mutex
	progressed := map[Key]int{}
	srv, addr, stop := serve(t, store, Options{NodeFields: []string{"TULLE_VERSION", "number"}, ProgressDelay: time.Millisecond, OnProgress: func(keys []Key) {
		mu.Lock()
		defer mu.Unlock()
		for _, k := range keys {
			progressed[k]++
		}
	}})
	early, _ := dial(t, addr, "pod-a")
	if _, err := early.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("before the first commit: %v, want Unavailable", err)
	}
	mustCommit(t, store, set(clusters, "a", "1"), set(clusters, "b", "1"))
	nameless, _ := dial(t, addr, "")
	if _, err := nameless.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a principal: %v, want Unauthenticated", err)
	}
	stream, conn := dial(t, addr, "pod-a")
	meta, err := structpb.NewStruct(map[string]any{"TULLE_VERSION": "1.2.3", "number": 7})
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{
		Node: &corev3.Node{Id: "sidecar.shop.a", Metadata: meta}, TypeUrl: clusters, ResourceNamesSubscribe: []string{"a", "b", "absent"},
	}); err != nil {
		t.Fatal(err)
	}
	m, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if s := (got{m}).String(); s != "Cluster -absent a=1 b=1" || string(m.GetResources()[0].GetResource().GetValue()) == "" {
		t.Errorf("got %s: %v", s, m)
	}
	if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResponseNonce: m.GetNonce()}); err != nil {
		t.Fatal(err)
	}
	a := Key{clusters, "a"}
	until(t, "the ACK is counted and told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		_, acked, _ := srv.Acks(a)
		return acked == 1 && progressed[a] > 0
	})
	mu.Lock()
	before := progressed[a]
	mu.Unlock()
	mustCommit(t, store, set(clusters, "a", "2"))
	if _, acked, _ := srv.Acks(a); acked != 0 {
		t.Error("the ACK of an old version counts")
	}
	if m, err = stream.Recv(); err != nil || (got{m}).String() != "Cluster a=2" {
		t.Errorf("got %v, %v", got{m}, err)
	}
	until(t, "the commit is told", func() bool { mu.Lock(); defer mu.Unlock(); return progressed[a] > before })
	streams := srv.Streams()
	if len(streams) != 1 {
		t.Fatalf("%d streams, want 1", len(streams))
	}
	want := Stream{ID: streams[0].ID, Principal: "pod-a", Node: Node{"sidecar.shop.a", map[string]string{"TULLE_VERSION": "1.2.3"}}, Since: streams[0].Since, Names: 3, Pending: 1}
	if diff := cmp.Diff(want, streams[0]); diff != "" {
		t.Errorf("Streams (-want +got):\n%s", diff)
	}
	_ = conn.Close()
	until(t, "the stream is forgotten", func() bool { needed, _, _ := srv.Acks(a); return needed == 0 && len(srv.Streams()) == 0 })
	until(t, "its end is told", func() bool { mu.Lock(); defer mu.Unlock(); return progressed[a] > before+1 })

	last, _ := dial(t, addr, "pod-b")
	if err := last.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResourceNamesSubscribe: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := last.Recv(); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := last.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("when the server stops: %v, want Unavailable", err)
	}
	checkEmpty(t, 0, store)
}

// Garbage ends its own stream, with words, and no other.
func TestGarbageEndsOneStream(t *testing.T) {
	store := NewStore(testTypes()...)
	mustCommit(t, store, set(clusters, "a", "1"))
	srv, addr, _ := serve(t, store, Options{Metrics: prometheus.NewRegistry(), MaxRequestBytes: 1 << 10})
	good, conn := dial(t, addr, "good")
	if err := good.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResourceNamesSubscribe: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	m, err := good.Recv()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bytes []byte
		want  codes.Code
	}{
		"not protobuf":  {[]byte("GET / HTTP/1.1"), codes.InvalidArgument},
		"not UTF-8":     {appendString(nil, 2, "\xff\xfe"), codes.InvalidArgument},
		"without type":  {nil, codes.InvalidArgument},
		"empty name":    {appendString(appendString(nil, 2, clusters), 3, ""), codes.InvalidArgument},
		"larger than 1": {bytes.Repeat(appendString(nil, 3, "abc"), 400), codes.ResourceExhausted},
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "who", "bad")
		raw, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
			"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", grpc.ForceCodecV2(codec{}))
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.SendMsg(&response{tail: c.bytes}); err != nil {
			t.Fatal(err)
		}
		var m discoveryv3.DeltaDiscoveryResponse
		if err := raw.RecvMsg(&m); status.Code(err) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if n := testutil.ToFloat64(srv.metrics.malformed); n != 5 {
		t.Errorf("malformed = %v, want 5", n)
	}
	mustCommit(t, store, set(clusters, "a", "2"))
	if err := good.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResponseNonce: m.GetNonce()}); err != nil {
		t.Fatal(err)
	}
	if m, err = good.Recv(); err != nil || (got{m}).String() != "Cluster a=2" {
		t.Errorf("the good stream got %v, %v", got{m}, err)
	}
}

func TestOldStreamsEnd(t *testing.T) {
	store := NewStore(testTypes()...)
	mustCommit(t, store)
	_, addr, _ := serve(t, store, Options{MaxAge: 50 * time.Millisecond})
	stream, _ := dial(t, addr, "pod")
	start := time.Now()
	_, err := stream.Recv()
	if status.Code(err) != codes.Unavailable {
		t.Errorf("%v, want Unavailable", err)
	}
	if age := time.Since(start); age < 20*time.Millisecond {
		t.Errorf("it ended after %v already", age)
	}
}

func TestNewServerRefuses(t *testing.T) {
	store := NewStore(testTypes()...)
	for name, o := range map[string]Options{"no Authenticate": {Authorize: permit}, "no Authorize": {Authenticate: nobody}} {
		if _, err := NewServer(store, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := NewServer(store, Options{Authenticate: nobody, Authorize: permit}); err != nil {
		t.Fatal(err)
	}
	if _, err := NewServer(store, Options{Authenticate: nobody, Authorize: permit}); err == nil {
		t.Error("a second server of one store: no error")
	}
}

// Many streams that come, go, ACK and reject, while somebody commits and they are said to be elsewhere: for
// the race detector, and that everybody ends with the last version for its place.
func TestManyStreamsAtOnce(t *testing.T) {
	const streams, names, commits = 40, 30, 300
	store := NewStore(testTypes()...)
	version := func(i, rev int) Change {
		c := set(endpoints, fmt.Sprint("e", i), fmt.Sprint(rev))
		c.Resource.Variants = []Variant{{Place: "z1", Version: fmt.Sprint(rev, "@z1")}, {Place: "z2", Version: fmt.Sprint(rev, "@z2")}}
		return c
	}
	var zone atomic.Int64
	places := func(Principal) []string { return []string{fmt.Sprint("z", zone.Load()%3)} }
	for i := range names {
		mustCommit(t, store, version(i, 0))
	}
	var acks atomic.Int64
	srv, addr, stop := serve(t, store, Options{Places: places, OnAck: func(Ack) { acks.Add(1) }, OnProgress: func([]Key) {}, ProgressDelay: time.Millisecond})
	var wg sync.WaitGroup
	final := fmt.Sprint(commits)
	for c := range streams {
		wg.Go(func() {
			for life := range 3 {
				stream, conn := dial(t, addr, fmt.Sprint("pod", c))
				have := map[string]string{}
				req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: endpoints}
				for i := range names {
					req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, fmt.Sprint("e", i))
				}
				if err := stream.Send(req); err != nil {
					t.Error(err)
					return
				}
				for n := 0; life == 2 || n < 3; n++ {
					m, err := stream.Recv()
					if err != nil {
						t.Error(err)
						return
					}
					for _, r := range m.GetResources() {
						have[r.GetName()] = r.GetVersion()
					}
					if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: endpoints, ResponseNonce: m.GetNonce()}); err != nil {
						t.Error(err)
						return
					}
					done := 0
					for _, v := range have {
						if rev, _, _ := strings.Cut(v, "@"); rev == final {
							done++
						}
					}
					if done == names {
						break
					}
				}
				if life < 2 {
					_ = conn.Close()
				}
			}
		})
	}
	for rev := 1; rev <= commits; rev++ {
		changes := make([]Change, 0, names)
		for i := range names {
			if rev == commits || (i+rev)%7 == 0 {
				changes = append(changes, version(i, rev))
			}
		}
		if rev%10 == 0 {
			zone.Add(1)
			srv.Relocate()
		}
		mustCommit(t, store, changes...)
		srv.Streams()
		srv.Acks(Key{endpoints, "e0"})
	}
	wg.Wait()
	for i := range names {
		k := Key{endpoints, fmt.Sprint("e", i)}
		until(t, "all are counted", func() bool {
			needed, acked, nacks := srv.Acks(k)
			return needed == streams && acked == streams && len(nacks) == 0
		})
	}
	stop()
	until(t, "every stream that was woken has looked or gone", func() bool { return srv.backlog.Load() == 0 })
	if acks.Load() == 0 {
		t.Error("OnAck was never called")
	}
}

// While the sessions have a backlog, commits are gathered and sent once.
func TestCommitsAreGatheredUnderBacklog(t *testing.T) {
	b := newBench(t, Options{MaxWindow: 10 * time.Second}, set(endpoints, "a", "0"))
	b.subscribe(endpoints, "a")
	b.ack(b.want("Endpoints a=0")...)
	var others []*session
	for range 40 { // woken, and nobody looks
		ss := b.srv.open("other")
		if err := deliver(ss, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: endpoints, ResourceNamesSubscribe: []string{"a"}}); err != nil {
			t.Fatal(err)
		}
		others = append(others, ss)
	}
	for i := range 20 {
		b.commit(set(endpoints, "a", fmt.Sprint(i+1)))
		b.want() // not told yet
	}
	if _, acked, _ := b.srv.Acks(Key{endpoints, "a"}); acked != 0 {
		t.Error("an ACK of the old version counts while commits are gathered")
	}
	for _, ss := range others { // they look at last
		<-ss.wakeup
		ss.awake()
	}
	until(t, "the gathered commits are told", func() bool {
		b.ss.mu.Lock()
		defer b.ss.mu.Unlock()
		return len(b.ss.existing(endpoints).dirty) == 1
	})
	b.ack(b.want("Endpoints a=20")...)
	<-b.ss.wakeup
	b.ss.awake()
	for _, ss := range others {
		<-ss.wakeup
		ss.awake()
	}
	b.commit(set(endpoints, "a", "21"))
	b.ack(b.want("Endpoints a=21")...) // at once again
}

// What was gathered is waited for although nobody has been told of it yet.
func TestGatheredCommitsKeepTheOrder(t *testing.T) {
	c := Key{clusters, "c"}
	b := newBench(t, Options{MaxWindow: 10 * time.Second}, set(clusters, "c", "1"))
	b.subscribe(clusters, "c")
	b.ack(b.want("Cluster c=1")...)
	b.srv.backlog.Add(1000)
	b.commit(set(clusters, "c", "2"), set(routes, "r", "1", c))
	b.subscribe(routes, "r")
	b.want()
	b.srv.backlog.Add(-1000)
	until(t, "it is told", b.ss.pendingCluster)
	b.ack(b.want("Cluster c=2")...)
	b.ack(b.want("Route r=1")...)
}

func (ss *session) pendingCluster() bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return len(ss.existing(clusters).dirty) > 0
}
