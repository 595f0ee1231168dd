// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// longName is one of many names that may exist, and is as long as a name can be.
func longName(i int) string {
	s := fmt.Sprintf("out/%07d/", i)
	return s + strings.Repeat("x", maxNameBytes-len(s))
}

// perPod makes the principal the owner.
func perPod(streams int) func(Principal) Owner {
	return func(p Principal) Owner { return Owner{Key: p, Streams: streams} }
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // fits
}

// TestNamesThatDoNotExist: streams that subscribe to ever more long names of nothing are ended, and what
// they hold until then is little. Others still get names that do not exist yet.
func TestNamesThatDoNotExist(t *testing.T) {
	store := NewStore(testTypes()...)
	mustCommit(t, store, set(clusters, "a", "1"))
	srv, addr, _ := serve(t, store, Options{Owner: perPod(4), SpareNames: 1_000_000}) // the bound of a stream is not what stops it
	before := heap()
	ended := 0
	for pod := range 3 {
		for range 4 {
			stream, _ := dial(t, addr, fmt.Sprint("evil-", pod))
			end := make(chan error, 1)
			go func() {
				for {
					if _, err := stream.Recv(); err != nil {
						end <- err
						return
					}
				}
			}()
			for i := 0; i < 100_000; i += 500 {
				r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters}
				for j := range 500 {
					r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, longName(i+j))
				}
				if stream.Send(r) != nil {
					break // ended
				}
			}
			if err := <-end; status.Code(err) != codes.ResourceExhausted {
				t.Errorf("ended with %v", err)
			} else {
				ended++
			}
		}
	}
	if ended != 12 {
		t.Errorf("%d of 12 streams were ended", ended)
	}
	if grown := heap() - before; grown > 32<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
	good, _ := dial(t, addr, "good")
	if err := good.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResourceNamesSubscribe: []string{"a", "later"}}); err != nil {
		t.Fatal(err)
	}
	if m, err := good.Recv(); err != nil || (got{m}).String() != "Cluster -later a=1" {
		t.Errorf("got %v, %v", got{m}, err)
	}
	until(t, "nothing of the ended streams is charged", func() bool {
		srv.owners.mu.Lock()
		defer srv.owners.mu.Unlock()
		return srv.owners.unknown == costOf("later")
	})
}

// TestCommitsPassLongRequests: a request of very many names does not keep a commit waiting until all of
// them are done.
func TestCommitsPassLongRequests(t *testing.T) {
	const all = 60_000
	changes := make([]Change, 0, all)
	r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters}
	for i := range all {
		name := fmt.Sprintf("n%06d", i)
		changes = append(changes, set(clusters, name, "1"))
		r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, name)
	}
	b := newBench(t, Options{}, changes...)
	for what, r := range map[string]*discoveryv3.DeltaDiscoveryRequest{
		"subscribe":   r,
		"unsubscribe": {TypeUrl: clusters, ResourceNamesUnsubscribe: r.GetResourceNamesSubscribe()},
	} {
		if what == "unsubscribe" {
			if err := deliver(b.ss, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResourceNamesSubscribe: r.GetResourceNamesUnsubscribe()}); err != nil {
				t.Fatal(err)
			}
		}
		var done atomic.Bool
		finished := make(chan error, 1)
		go func() {
			err := deliver(b.ss, r)
			done.Store(true)
			finished <- err
		}()
		between := 0
		for !done.Load() {
			b.commit()
			b.ss.mu.Lock()
			if n := b.ss.names; n > 0 && n < all {
				between++
			}
			b.ss.mu.Unlock()
		}
		if err := <-finished; err != nil {
			t.Fatal(err)
		}
		if between == 0 {
			t.Errorf("%s: no commit came between the %d names of a request", what, all)
		}
	}
}

// TestLoopOfSubscriptions: a client that subscribes and unsubscribes for ever and answers nothing leaves
// nothing behind.
func TestLoopOfSubscriptions(t *testing.T) {
	var names []string
	var changes []Change
	for i := range 500 {
		names = append(names, fmt.Sprint("n", i))
		changes = append(changes, set(clusters, names[i], "1"))
	}
	b := newBench(t, Options{}, append(changes, set(clusters, "first", "1"))...)
	b.subscribe(clusters, "first")
	b.want("Cluster first=1") // and it is never ACKed
	before := heap()
	for range 200 {
		b.subscribe(clusters, names...)
		b.unsubscribe(clusters, names...)
	}
	if n := len(b.ss.existing(clusters).dirty); n > 1000 {
		t.Errorf("%d marks are left of 100,000 subscriptions", n)
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("the heap has grown by %d KiB", grown>>10)
	}
	for i := range names { // one of each request stays
		b.subscribe(clusters, names[i:]...)
		b.unsubscribe(clusters, names[i+1:]...)
	}
	if grown := heap() - before; grown > 2<<20 {
		t.Errorf("500 subscriptions of 500 requests keep %d KiB", grown>>10)
	}
	runtime.KeepAlive(b)
}

// TestRefusedNamesInALoop: names that are refused and that the client does not let the server answer end
// the stream before they are many.
func TestRefusedNamesInALoop(t *testing.T) {
	b := newBench(t, Options{SpareNames: 1_000_000}, set(clusters, "a", "1"))
	b.subscribe(clusters, "a")
	b.want("Cluster a=1") // and it is never ACKed
	var err error
	i := 0
	for ; err == nil && i < 100; i++ {
		r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters}
		for j := range 500 {
			r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, longName(500*i+j))
		}
		err = deliver(b.ss, r)
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("after %d requests: %v", i, err)
	}
}

// TestManyRejections: of a client that rejects everything at length, few words are kept and fewer shown.
func TestManyRejections(t *testing.T) {
	var names []string
	var changes []Change
	for i := range 3 * maxTexts {
		names = append(names, fmt.Sprint("n", i))
		changes = append(changes, set(clusters, names[i], "1"))
	}
	b := newBench(t, Options{MaxResponseBytes: 1}, changes...)
	b.subscribe(clusters, names...)
	for i := range names {
		b.nack(b.next(), fmt.Sprint(i, strings.Repeat("x", maxErrorBytes)))
	}
	kept := 0
	for _, r := range b.ss.rejected {
		kept += len(r.text)
	}
	if len(b.ss.rejected) != len(names) || kept > (maxTexts+1)*maxErrorBytes+len(names)*100 {
		t.Errorf("%d rejections, %d bytes of words", len(b.ss.rejected), kept)
	}
	shown := 0
	for _, r := range b.srv.Streams()[0].Rejections {
		shown += len(r.Err)
	}
	if shown > maxShown*maxShownText {
		t.Errorf("%d bytes are shown", shown)
	}
}

// TestStreamsOfAnOwner: of the streams of one pod the newest count, and what an idle one says of itself is
// cut. Those of other pods stay.
func TestStreamsOfAnOwner(t *testing.T) {
	store := NewStore(testTypes()...)
	mustCommit(t, store, set(clusters, "a", "1"))
	var away atomic.Int64
	srv, addr, _ := serve(t, store, Options{Owner: perPod(4), NodeFields: []string{"SLOT"}, Ended: func(context.Context) { away.Add(1) }})
	meta, err := structpb.NewStruct(map[string]any{"SLOT": strings.Repeat("s", 10_000), "OTHER": strings.Repeat("o", 10_000)})
	if err != nil {
		t.Fatal(err)
	}
	connect := func(who string) discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient {
		t.Helper()
		stream, _ := dial(t, addr, who)
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{
			Node: &corev3.Node{Id: strings.Repeat("i", 10_000), Metadata: meta}, TypeUrl: clusters, ResourceNamesSubscribe: []string{"a"},
		}); err != nil {
			t.Fatal(err)
		}
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResponseNonce: m.GetNonce()}); err != nil {
			t.Fatal(err)
		}
		return stream
	}
	other := connect("other")
	var mine []discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	for range 20 {
		mine = append(mine, connect("mine"))
	}
	for i, stream := range mine[:16] {
		if _, err := stream.Recv(); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("stream %d: %v", i, err)
		}
	}
	until(t, "the ended ones are forgotten", func() bool { return len(srv.Streams()) == 5 })
	if away.Load() != 16 {
		t.Errorf("the connections of %d streams are told to end", away.Load())
	}
	for _, s := range srv.Streams() {
		if size := len(s.Node.ID) + len(s.Node.Metadata["SLOT"]); size > 2*maxNodeBytes || len(s.Node.Metadata) != 1 {
			t.Errorf("%d bytes of %d fields are kept of a node", size, len(s.Node.Metadata))
		}
	}
	mustCommit(t, store, set(clusters, "a", "2"))
	for i, stream := range append(mine[16:], other) {
		if m, err := stream.Recv(); err != nil || (got{m}).String() != "Cluster a=2" {
			t.Errorf("stream %d that stays: %v, %v", i, got{m}, err)
		}
	}
}

// TestStreamsEndWithTheirRight: a stream ends when what it was opened with does, and when its client is not
// what it was; no other does.
func TestStreamsEndWithTheirRight(t *testing.T) {
	store := NewStore(testTypes()...)
	mustCommit(t, store, set(clusters, "a", "1"))
	var gone atomic.Bool
	end := time.Now().Add(300 * time.Millisecond)
	srv, addr, _ := serve(t, store, Options{
		Owner: perPod(4),
		Verify: func(p Principal) error {
			if p == "deleted" && gone.Load() {
				return errors.New("pod deleted is not known")
			}
			return nil
		},
		Expires: func(p Principal) time.Time {
			if p == "expires" {
				return end
			}
			return time.Time{}
		},
	})
	streams := map[string]discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient{}
	for _, who := range []string{"deleted", "expires", "stays"} {
		streams[who], _ = dial(t, addr, who)
		if err := streams[who].Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResourceNamesSubscribe: []string{"a"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := streams[who].Recv(); err != nil {
			t.Fatal(err)
		}
	}
	gone.Store(true)
	srv.Recheck("stays")
	srv.Recheck("unknown")
	srv.Recheck("deleted")
	if _, err := streams["deleted"].Recv(); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "is not known") {
		t.Errorf("a pod that was deleted: %v", err)
	}
	if _, err := streams["expires"].Recv(); status.Code(err) != codes.Unauthenticated || time.Now().Before(end) {
		t.Errorf("a certificate that has ended: %v", err)
	}
	late, _ := dial(t, addr, "deleted")
	if _, err := late.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a stream that was opened meanwhile: %v", err)
	}
	mustCommit(t, store, set(clusters, "b", "1"))
	if err := streams["stays"].Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: endpoints, ResourceNamesSubscribe: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := streams["stays"].Recv(); err != nil {
		t.Errorf("the others: %v", err)
	}
}

// TestRequestsGrowWithTheMesh: a small mesh takes small requests.
func TestRequestsGrowWithTheMesh(t *testing.T) {
	b := newBench(t, Options{}, set(clusters, "a", "1"))
	r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ErrorDetail: &statuspb.Status{Message: strings.Repeat("x", 2<<20)}}
	if err := deliver(b.ss, r); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("2 MiB: %v", err)
	}
	var changes []Change
	for i := range 50_000 {
		changes = append(changes, set(clusters, fmt.Sprint(i), "1"))
	}
	b.commit(changes...)
	if err := deliver(b.ss, r); err != nil {
		t.Errorf("2 MiB with 50,000 resources: %v", err)
	}
}

// TestMerge: subscriptions stay sorted by entry.
func TestMerge(t *testing.T) {
	subsOf := func(ids ...uint64) (l []*sub) {
		for _, id := range ids {
			l = append(l, &sub{entry: &entry{id: id}})
		}
		return l
	}
	for _, c := range [][2][]*sub{
		{nil, nil},
		{nil, subsOf(3, 1, 2)},
		{subsOf(1, 2), nil},
		{subsOf(2, 4, 6), subsOf(7, 1, 5, 3)},
		{subsOf(5, 6), subsOf(2, 1)},
		{subsOf(1, 2), subsOf(9, 8)},
	} {
		n := len(c[0]) + len(c[1])
		l := merge(slices.Clone(c[0]), slices.Clone(c[1]))
		if len(l) != n || !slices.IsSortedFunc(l, func(a, b *sub) int { return byEntry(a, b.entry.id) }) {
			t.Errorf("%d merged, want %d sorted ones", len(l), n)
		}
		for i := 1; i < len(l); i++ {
			if l[i] == l[i-1] {
				t.Error("one is there twice")
			}
		}
	}
}
