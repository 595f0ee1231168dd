// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// bench is a server with one stream and no network.
type bench struct {
	t     *testing.T
	store *Store
	srv   *Server
	ss    *session
	clock time.Time
	acks  []Ack
}

// open begins a stream without a network.
func (s *Server) open(p Principal) *session { return s.enter(p, func() {}) }

func newBench(t *testing.T, opts Options, changes ...Change) *bench {
	t.Helper()
	b := &bench{t: t, store: NewStore(testTypes()...), clock: time.Unix(1_000_000, 0)}
	opts.Authenticate = nobody
	opts.OnAck = func(a Ack) { b.acks = append(b.acks, a) }
	b.srv = testServer(t, b.store, &b.clock, opts)
	b.commit(changes...)
	b.connect()
	return b
}

func (b *bench) connect() { b.ss = b.srv.open("me") }

func (b *bench) commit(changes ...Change) {
	b.t.Helper()
	if _, err := b.store.Commit(changes...); err != nil {
		b.t.Fatal(err)
	}
}

// deliver has a session take a request as it comes over the network.
func deliver(ss *session, r proto.Message) error {
	b, err := proto.Marshal(r)
	if err != nil {
		return err
	}
	if ss.sotw {
		return ss.states()(b)
	}
	return ss.deltas()(b)
}

func (b *bench) request(r *discoveryv3.DeltaDiscoveryRequest) {
	b.t.Helper()
	if err := deliver(b.ss, r); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) subscribe(url string, names ...string) {
	b.t.Helper()
	b.request(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: url, ResourceNamesSubscribe: names})
}

func (b *bench) unsubscribe(url string, names ...string) {
	b.t.Helper()
	b.request(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: url, ResourceNamesUnsubscribe: names})
}

// got is a response in short: "Cluster a=v1 b=v1 -c".
type got struct {
	*discoveryv3.DeltaDiscoveryResponse
}

func (g got) String() string {
	if g.DeltaDiscoveryResponse == nil {
		return "nothing"
	}
	url := g.GetTypeUrl()
	l := []string{}
	for _, r := range g.GetResources() {
		l = append(l, r.GetName()+"="+r.GetVersion())
	}
	for _, n := range g.GetRemovedResources() {
		l = append(l, "-"+n)
	}
	slices.Sort(l)
	return url[strings.LastIndexByte(url, '.')+1:] + " " + strings.Join(l, " ")
}

func (b *bench) next() got {
	b.t.Helper()
	r := b.ss.next(b.clock)
	if r == nil {
		return got{}
	}
	data, err := codec{}.Marshal(r)
	if err != nil {
		b.t.Fatal(err)
	}
	m := &discoveryv3.DeltaDiscoveryResponse{}
	if err := proto.Unmarshal(data.Materialize(), m); err != nil {
		b.t.Fatal(err)
	}
	return got{m}
}

// want checks what is sent now, in order, and ACKs none of it.
func (b *bench) want(texts ...string) []got {
	b.t.Helper()
	var all []got
	var have []string
	for g := b.next(); g.DeltaDiscoveryResponse != nil; g = b.next() {
		all = append(all, g)
		have = append(have, g.String())
	}
	if diff := cmp.Diff(texts, have); diff != "" {
		b.t.Fatalf("sent (-want +got):\n%s", diff)
	}
	return all
}

func (b *bench) ack(l ...got) {
	b.t.Helper()
	for _, g := range l {
		b.request(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: g.GetTypeUrl(), ResponseNonce: g.GetNonce()})
	}
}

func (b *bench) nack(g got, text string) {
	b.t.Helper()
	b.request(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: g.GetTypeUrl(), ResponseNonce: g.GetNonce(), ErrorDetail: &statuspb.Status{Message: text}})
}

// set is a resource with a version.
func set(url, name, version string, needs ...Key) Change {
	return Set(Resource{Key: Key{url, name}, Version: version, Body: []byte("body of " + name), Needs: needs})
}

func TestSubscriptions(t *testing.T) {
	b := newBench(t, Options{}, set(clusters, "a", "1"), set(clusters, "b", "1"))
	b.subscribe(clusters, "a", "absent", "a")
	b.ack(b.want("Cluster -absent a=1")...)
	b.commit(set(clusters, "a", "1"), set(clusters, "b", "2"), set(clusters, "other", "1"))
	if b.ss.pendingWork() {
		t.Error("a commit of what it has, and of what it does not want, is work for a stream")
	}
	b.commit(set(clusters, "absent", "1"))
	b.ack(b.want("Cluster absent=1")...)
	b.commit(set(clusters, "a", "2"), Remove(Key{clusters, "absent"}))
	b.ack(b.want("Cluster -absent a=2")...)
	b.subscribe(clusters, "a") // it may have dropped it meanwhile: the protocol wants an answer
	b.ack(b.want("Cluster a=2")...)
	b.unsubscribe(clusters, "a", "never")
	b.commit(set(clusters, "a", "3"))
	b.want()
	b.subscribe("type.googleapis.com/test.Unknown", "x", "y")
	b.ack(b.want("Unknown -x -y")...)
	b.want()
	want := []Ack{
		{Principal: "me", StreamID: 1, Key: Key{clusters, "a"}, Version: "1"},
		{Principal: "me", StreamID: 1, Key: Key{clusters, "absent"}},
		{Principal: "me", StreamID: 1, Key: Key{clusters, "absent"}, Version: "1"},
		{Principal: "me", StreamID: 1, Key: Key{clusters, "a"}, Version: "2"},
		{Principal: "me", StreamID: 1, Key: Key{clusters, "absent"}},
		{Principal: "me", StreamID: 1, Key: Key{clusters, "a"}, Version: "2"},
	}
	if diff := cmp.Diff(want, b.acks); diff != "" {
		t.Errorf("OnAck (-want +got):\n%s", diff)
	}
}

func TestWhatIsNotAllowedDoesNotExist(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := newBench(t, Options{Metrics: reg}, set(secrets, "hidden", "1"), set(secrets, "mine", "1"))
	b.subscribe(secrets, "hidden", "mine", "*")
	b.ack(b.want("Secret -hidden mine=1")...)
	b.commit(set(secrets, "hidden", "2"))
	b.want()
	if needed, _, _ := b.srv.Acks(Key{secrets, "hidden"}); needed != 0 {
		t.Errorf("a stream that may not have a resource counts as needing it")
	}
	for reason, want := range map[string]float64{"unauthorized": 1, "wildcard": 1} {
		if n := testutil.ToFloat64(b.srv.metrics.refused.WithLabelValues(reason)); n != want {
			t.Errorf("refused{reason=%q} = %v, want %v", reason, n, want)
		}
	}
}

func TestResume(t *testing.T) {
	b := newBench(t, Options{ResumeGrace: time.Second},
		set(clusters, "same", "1"), set(clusters, "changed", "2"), set(listeners, "l", "2"))
	b.request(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: clusters, ResourceNamesSubscribe: []string{"same", "changed", "gone", "absent"},
		InitialResourceVersions: map[string]string{"same": "1", "changed": "1", "gone": "1"},
	})
	first := b.want("Cluster -absent changed=2") // gone may still be needed by what it will tell of next
	b.request(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: listeners, ResourceNamesSubscribe: []string{"l"}, InitialResourceVersions: map[string]string{"l": "1"},
	})
	l := b.want("Listener l=2")
	b.ack(first...)
	b.clock = b.clock.Add(time.Second)
	b.want() // the client still has a listener of which nobody knows what it needs
	b.ack(l...)
	b.ack(b.want("Cluster -gone")...)
	if needed, acked, _ := b.srv.Acks(Key{clusters, "same"}); needed != 1 || acked != 1 {
		t.Errorf("Acks(same) = %d, %d, want 1, 1", needed, acked)
	}
	// Versions count in the first request of a type only.
	b.commit(set(clusters, "new", "1"))
	b.request(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: clusters, ResourceNamesSubscribe: []string{"new"}, InitialResourceVersions: map[string]string{"new": "1"},
	})
	b.ack(b.want("Cluster new=1")...)
}

func TestASlowClientGetsTheLatestOnly(t *testing.T) {
	b := newBench(t, Options{}, set(endpoints, "a", "0"), set(endpoints, "b", "0"), set(clusters, "a", "0"))
	b.subscribe(endpoints, "a", "b")
	b.subscribe(clusters, "a")
	sent := b.want("Cluster a=0", "Endpoints a=0 b=0")
	for i := range 50 {
		b.commit(set(endpoints, "a", fmt.Sprint(i+1)))
		b.want()
	}
	b.commit(set(clusters, "a", "1")) // another type does not wait
	b.want()
	b.ack(sent[0])
	b.ack(b.want("Cluster a=1")...)
	b.ack(sent[1])
	b.ack(b.want("Endpoints a=50")...)
	b.commit(set(endpoints, "a", "51"))
	b.commit(set(endpoints, "a", "50")) // back before anybody looked
	b.want()
}

func TestNonces(t *testing.T) {
	b := newBench(t, Options{}, set(clusters, "a", "1"))
	b.subscribe(clusters, "a")
	one := b.want("Cluster a=1")[0]
	b.commit(set(clusters, "a", "2"))
	b.request(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResponseNonce: "made up"})
	b.request(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: endpoints, ResponseNonce: one.GetNonce()})
	b.want() // neither was an answer
	b.ack(one)
	two := b.want("Cluster a=2")[0]
	b.nack(one, "late") // an answer to what was answered
	if _, acked, nacks := b.srv.Acks(Key{clusters, "a"}); acked != 0 || len(nacks) != 0 {
		t.Errorf("Acks = %d, %v before the answer", acked, nacks)
	}
	b.ack(two)
	if _, acked, _ := b.srv.Acks(Key{clusters, "a"}); acked != 1 {
		t.Errorf("%d acked, want 1", acked)
	}
	if n := testutil.ToFloat64(b.srv.metrics.stale); n != 3 {
		t.Errorf("stale nonces = %v, want 3", n)
	}
	// An ACK and new names in one request.
	b.commit(set(clusters, "a", "3"), set(clusters, "b", "1"))
	three := b.want("Cluster a=3")[0]
	b.request(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResponseNonce: three.GetNonce(), ResourceNamesSubscribe: []string{"b"}})
	b.want("Cluster b=1")
}

func TestARejectedVersionIsNotSentAgain(t *testing.T) {
	b := newBench(t, Options{}, set(clusters, "a", "1"))
	b.subscribe(clusters, "a")
	b.ack(b.want("Cluster a=1")...)
	b.commit(set(clusters, "a", "bad"))
	b.nack(b.want("Cluster a=bad")[0], "no such lb_policy")
	b.want()
	want := []Nack{{Principal: "me", StreamID: 1, Version: "bad", Err: "no such lb_policy"}}
	needed, acked, nacks := b.srv.Acks(Key{clusters, "a"})
	if diff := cmp.Diff(want, nacks); diff != "" || needed != 1 || acked != 0 {
		t.Errorf("Acks = %d, %d; nacks (-want +got):\n%s", needed, acked, diff)
	}
	shown := []Rejection{{Key: Key{clusters, "a"}, Version: "bad", Err: "no such lb_policy"}}
	if st := b.srv.Streams()[0]; st.Rejected != 1 || !cmp.Equal(shown, st.Rejections) {
		t.Errorf("Streams tells %+v", st)
	}
	if last := b.acks[len(b.acks)-1]; last.Version != "bad" || last.Err != "no such lb_policy" {
		t.Errorf("OnAck heard %+v", last)
	}
	b.commit(set(clusters, "a", "better"))
	b.commit(set(clusters, "a", "bad")) // before anybody looked
	b.want()
	b.commit(set(clusters, "a", "1")) // back to what the client has
	b.want()
	if _, acked, nacks := b.srv.Acks(Key{clusters, "a"}); acked != 1 || len(nacks) != 0 {
		t.Errorf("Acks = %d, %v after going back", acked, nacks)
	}
	b.commit(set(clusters, "a", "2"))
	b.ack(b.want("Cluster a=2")...)
	b.commit(set(clusters, "a", "bad"))
	b.nack(b.want("Cluster a=bad")[0], "")
	if _, _, nacks := b.srv.Acks(Key{clusters, "a"}); len(nacks) != 1 || nacks[0].Err == "" {
		t.Errorf("a NACK without words: %v", nacks)
	}
}

// Of many resources in one rejected response the bad ones are found, and the
// good ones arrive.
func TestRejectedTogetherAreTriedApart(t *testing.T) {
	var changes []Change
	var names []string
	for i := range 100 {
		n := fmt.Sprintf("c%02d", i)
		names = append(names, n)
		changes = append(changes, set(clusters, n, "1"))
	}
	bad := map[string]bool{"c03": true, "c70": true}
	b := newBench(t, Options{}, changes...)
	b.subscribe(clusters, names...)
	responses := 0
	for g := b.next(); g.DeltaDiscoveryResponse != nil; g = b.next() {
		if responses++; responses > 40 {
			t.Fatal("it does not end")
		}
		if slices.ContainsFunc(g.GetResources(), func(r *discoveryv3.Resource) bool { return bad[r.GetName()] }) {
			b.nack(g, "bad one")
			continue
		}
		b.ack(g)
	}
	for _, n := range names {
		_, acked, nacks := b.srv.Acks(Key{clusters, n})
		if bad[n] && (acked != 0 || len(nacks) != 1) || !bad[n] && (acked != 1 || len(nacks) != 0) {
			t.Errorf("Acks(%s) = %d, %v", n, acked, nacks)
		}
	}
	if len(b.acks) != 100 {
		t.Errorf("OnAck heard %d answers, want one for each resource", len(b.acks))
	}
	t.Logf("%d responses", responses)
}

func TestLimits(t *testing.T) {
	b := newBench(t, Options{SpareNames: 1, MaxResponseBytes: 30}, set(clusters, "a", "1"), set(clusters, "b", "1"))
	code := func(r *discoveryv3.DeltaDiscoveryRequest) codes.Code {
		b.connect()
		if r.GetTypeUrl() == clusters {
			b.subscribe(listeners, "x", "y", "z")
		}
		return status.Code(deliver(b.ss, r))
	}
	for name, c := range map[string]struct {
		req  *discoveryv3.DeltaDiscoveryRequest
		want codes.Code
	}{
		"no type":      {&discoveryv3.DeltaDiscoveryRequest{}, codes.InvalidArgument},
		"long type":    {&discoveryv3.DeltaDiscoveryRequest{TypeUrl: strings.Repeat("x", maxNameBytes+1)}, codes.InvalidArgument},
		"empty name":   {&discoveryv3.DeltaDiscoveryRequest{TypeUrl: endpoints, ResourceNamesSubscribe: []string{"a", ""}}, codes.InvalidArgument},
		"long name":    {&discoveryv3.DeltaDiscoveryRequest{TypeUrl: endpoints, ResourceNamesSubscribe: []string{strings.Repeat("x", maxNameBytes+1)}}, codes.InvalidArgument},
		"many at once": {&discoveryv3.DeltaDiscoveryRequest{TypeUrl: endpoints, ResourceNamesSubscribe: []string{"a", "b", "c", "d", "e", "f"}}, codes.ResourceExhausted},
		"many in sum":  {&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResourceNamesSubscribe: []string{"a", "b", "c"}}, codes.ResourceExhausted},
		"just enough":  {&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters, ResourceNamesSubscribe: []string{"a", "b"}}, codes.OK},
	} {
		if got := code(c.req); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	b.connect()
	for i := range maxUnknownTypes + 1 {
		want := codes.OK
		if i == maxUnknownTypes {
			want = codes.ResourceExhausted
		}
		if got := status.Code(deliver(b.ss, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: fmt.Sprint("other", i)})); got != want {
			t.Errorf("unknown type %d: %v, want %v", i, got, want)
		}
	}
	b.connect() // responses have a size
	b.subscribe(clusters, "a", "b")
	b.ack(b.want("Cluster a=1")...)
	b.ack(b.want("Cluster b=1")...)
	b.want()
}

func TestCommitRefuses(t *testing.T) {
	s := NewStore(testTypes()...)
	for name, c := range map[string]Change{
		"no name":            Set(Resource{Key: Key{clusters, ""}}),
		"unknown type":       Set(Resource{Key: Key{"other", "a"}}),
		"unknown need":       set(clusters, "a", "1", Key{"other", "x"}),
		"unknown companion":  Set(Resource{Key: Key{clusters, "a"}, Companion: Key{"other", "x"}}),
		"own companion":      Set(Resource{Key: Key{clusters, "a"}, Companion: Key{clusters, "a"}}),
		"place without name": Set(Resource{Key: Key{endpoints, "a"}, Variants: []Variant{{}}}),
		"needs at places":    Set(Resource{Key: Key{clusters, "a"}, Needs: []Key{{secrets, "s"}}, Variants: []Variant{{Place: "z"}}}),
		"unknown removed":    Remove(Key{"other", "a"}),
	} {
		if _, err := s.Commit(set(clusters, "good", "1"), c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, ok := s.Get(Key{clusters, "good"}); ok || s.Seq() != 0 {
		t.Error("a commit that was refused changed something")
	}
}

func TestStoreReturnsWhatWasCommitted(t *testing.T) {
	s := NewStore(testTypes()...)
	a := Resource{Key: Key{clusters, "a"}, Version: "1", Body: []byte("aaa"), Needs: []Key{{secrets, "s"}}, Companion: Key{endpoints, "a"}}
	b := Resource{Key: Key{clusters, "b"}, Body: []byte("bbb")}
	if seq, err := s.Commit(Set(b), Set(a)); err != nil || seq != 1 {
		t.Fatal(seq, err)
	}
	b.Version = VersionOf(b.Body)
	if len(b.Version) != 16 {
		t.Errorf("version %q has %d characters, want 16", b.Version, len(b.Version))
	}
	if diff := cmp.Diff([]Resource{a, b}, s.List(clusters)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if got, ok := s.Get(b.Key); !ok || !cmp.Equal(got, b) {
		t.Errorf("Get = %v, %t", got, ok)
	}
	if _, ok := s.Get(Key{secrets, "s"}); ok || s.Len(secrets) != 0 || s.Len(clusters) != 2 {
		t.Error("a name that is only referred to counts as a resource")
	}
	if _, err := s.Commit(Remove(a.Key), Set(b), Remove(a.Key), Set(Resource{Key: a.Key, Version: "2"}), Remove(a.Key)); err != nil {
		t.Fatal(err)
	}
	if n := s.Len(clusters); n != 1 {
		t.Errorf("%d clusters, want 1", n)
	}
	checkEmpty(t, 0, s)
}

// What is still on its way into a stream that has ended changes nothing.
func TestAnEndedStreamTakesNothing(t *testing.T) {
	b := newBench(t, Options{}, set(clusters, "a", "1"))
	b.subscribe(clusters, "a") // wakes the sender, which does not look any more
	b.srv.end(b.ss)
	b.subscribe(clusters, "a", "absent")
	b.subscribe("type.googleapis.com/test.Unknown")
	b.ss.wake()
	b.want()
	if n := b.srv.backlog.Load(); n != 0 {
		t.Errorf("backlog = %d", n)
	}
	if needed, _, _ := b.srv.Acks(Key{clusters, "a"}); needed != 0 || len(b.srv.Streams()) != 0 {
		t.Errorf("it counts: %d need a, streams %v", needed, b.srv.Streams())
	}
	checkEmpty(t, 0, b.store)
}
