// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Principal is who is at the other end of a stream: whatever Authenticate
// returns, immutable, and of no meaning to this package.
type Principal any

// Options of a Server. Authenticate and Authorize are required.
type Options struct {
	// Authenticate names the client of a new stream; its error ends the stream.
	Authenticate func(context.Context) (Principal, error)
	// Authorize says whether a client may have a resource. It must be pure and
	// quick: it is called once for each name of each subscription.
	Authorize func(Principal, Key) bool
	// Rename, if set, says which resource stands for a name that a client of a state-of-the-world stream
	// asks for. It must be pure and quick. What it returns is authorized, not what it was given.
	Rename func(Principal, Key) Key
	// Places, if set, says where a client is: for the first of them that a resource has a variant for the
	// client gets that one, else the resource itself. It is called with locks held, when a stream begins
	// and by Relocate, and must be quick and not call the Server or the Store.
	Places func(Principal) []string
	// Owner, if set, says whose a stream is. Without it, each stream has an owner of its own.
	Owner func(Principal) Owner
	// Verify, if set, returns why a client may not have its stream any more. It is called when a stream
	// begins and by Recheck, and its error ends the stream.
	Verify func(Principal) error
	// Expires, if set, returns when a client's right to its stream ends. The zero time means never.
	Expires func(Principal) time.Time
	// Handled, if set, is called with the size of each request that was handled, on its stream's context.
	Handled func(context.Context, int)
	// Ended, if set, is called with the context of a stream that is to end because of its client. The
	// server may be sending to a client that does not read then.
	Ended func(context.Context)
	// Notes are the type URLs of requests that ask for nothing: the last of each stream is kept, and
	// shown by Streams. NoteFields are the fields of the node's metadata that are kept of it.
	Notes, NoteFields []string
	// NodeFields are the fields of the node's metadata that are kept of a stream's first request.
	NodeFields []string
	// OnAck, if set, hears of every resource that a client accepts or rejects.
	OnAck func(Ack)
	// OnInterest, if set, hears at once of names that a delta stream subscribes to. It must not block.
	OnInterest func(p Principal, url string, names []string)
	// OnProgress, if set, hears of keys whose Acks may have changed, gathered
	// over ProgressDelay, one call at a time; once more, maybe, after the end of Serve.
	OnProgress func([]Key)
	// ProgressDelay defaults to 100 ms.
	ProgressDelay time.Duration
	// Logger defaults to none.
	Logger logr.Logger
	// Metrics, if set, is where tulle_xds_* are registered.
	Metrics prometheus.Registerer
	// SpareNames is how many names a stream may subscribe to beyond twice the number of resources;
	// defaults to 4,000.
	SpareNames int
	// Bounded, if set, says of which names a delta stream may subscribe to no more than MaxBounded, and all
	// streams of an owner to no more than twice as many different ones; more of them are answered as removed.
	// It must be pure and quick.
	Bounded    func(Key) bool
	MaxBounded int
	// MaxRequestBytes of a request, however many resources there are; defaults to 8 MiB. With few
	// resources less is enough: see MaxRequest.
	MaxRequestBytes int
	// MaxResponseBytes after which a response takes no more resources; defaults
	// to 1 MiB, for clients that accept 4 MiB, gRPC's default.
	MaxResponseBytes int
	// MaxAge of a stream, more or less by half; 0 means no limit. Ended clients
	// come back, to another replica maybe.
	MaxAge time.Duration
	// MaxWindow for which commits are gathered while proxies have a backlog;
	// defaults to 200 ms.
	MaxWindow time.Duration
	// ResumeGrace is how long a client that comes back with resources gets to
	// tell all that it holds, before any of it is removed; defaults to 1 s.
	ResumeGrace time.Duration
}

// Server serves a Store over ADS: delta, and for clients that speak no other, the state of the world. It
// may be used from anywhere.
type Server struct {
	store    *Store
	opts     Options
	metrics  *metrics
	now      func() time.Time
	progress progress

	owners  owners
	large   chan struct{} // a place for each large request that is being handled
	backlog atomic.Int64  // sessions that were woken and have not looked yet
	streams atomic.Int64

	// Guarded by store.mu.
	gathering      bool
	window, waited time.Duration

	mu       sync.Mutex // guards the rest; a leaf
	sessions map[*session]struct{}
	lastID   uint64
	stopping bool
	stop     chan struct{} // closed when stopping
	spread   chan struct{} // closed and replaced when streams are to end within
	within   time.Duration
	lines    logLimit // guarded by its own mutex
}

// NewServer returns the one server of a store.
func NewServer(store *Store, opts Options) (*Server, error) {
	if opts.Authenticate == nil || opts.Authorize == nil {
		return nil, errors.New("xds server: Authenticate and Authorize are required")
	}
	setDefault(&opts.ProgressDelay, 100*time.Millisecond)
	setDefault(&opts.SpareNames, spareNames)
	setDefault(&opts.MaxRequestBytes, 8<<20)
	setDefault(&opts.MaxResponseBytes, 1<<20)
	setDefault(&opts.MaxWindow, 200*time.Millisecond)
	setDefault(&opts.ResumeGrace, time.Second)
	s := &Server{
		store: store, opts: opts, metrics: newMetrics(store.kinds), now: time.Now,
		progress: progress{call: opts.OnProgress, delay: opts.ProgressDelay},
		sessions: map[*session]struct{}{}, owners: owners{byKey: map[any]*owner{}}, large: make(chan struct{}, largeAtOnce), stop: make(chan struct{}), spread: make(chan struct{}),
	}
	store.mu.Lock()
	defer store.mu.Unlock()
	if store.told != nil {
		return nil, errors.New("xds server: the store has a server already")
	}
	if opts.Metrics != nil {
		if err := s.metrics.register(opts.Metrics); err != nil {
			return nil, err
		}
	}
	store.told = s.tell
	return s, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Serve accepts connections until ctx ends, then tells the clients to go
// elsewhere and returns. opts must hold the transport credentials.
func (s *Server) Serve(ctx context.Context, l net.Listener, opts ...grpc.ServerOption) error {
	g := s.NewGRPC(opts...)
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case <-done:
		case <-ctx.Done():
			s.Stop()
			hard := time.AfterFunc(5*time.Second, g.Stop)
			g.GracefulStop()
			hard.Stop()
		}
	}()
	err := g.Serve(l)
	close(done)
	<-finished
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve ADS: %w", err)
	}
	return nil
}

// NewGRPC returns a gRPC server with the ADS service and with the options that
// it needs: its codec, small buffers (most streams are idle), limits and keepalive.
func (s *Server) NewGRPC(opts ...grpc.ServerOption) *grpc.Server {
	params := keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second, MaxConnectionIdle: time.Minute}
	if s.opts.MaxAge > 0 {
		// Sent away before its stream ends, so that it comes back on a new connection.
		params.MaxConnectionAge = s.opts.MaxAge * 2 / 5
	}
	g := grpc.NewServer(append([]grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{}),
		grpc.ReadBufferSize(0), grpc.WriteBufferSize(4 << 10),
		grpc.MaxRecvMsgSize(s.opts.MaxRequestBytes), grpc.MaxConcurrentStreams(16), grpc.MaxHeaderListSize(16 << 10),
		// No more is held of a stream than a request that is being read, or this.
		grpc.StaticStreamWindowSize(64 << 10), grpc.StaticConnWindowSize(1 << 20),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveParams(params),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}, opts...)...)
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: "envoy.service.discovery.v3.AggregatedDiscoveryService",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: "DeltaAggregatedResources", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return s.stream(stream, false) },
		}, {
			StreamName: "StreamAggregatedResources", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return s.stream(stream, true) },
		}},
	}, nil)
	return g
}

// Stop ends all streams, and those to come, with Unavailable. It may be called again.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.stopping = true
		close(s.stop)
	}
}

// Rebalance ends every stream that is open now, each at a random time within d, so that clients come
// back to whichever replica there is. What they hold is not sent again.
func (s *Server) Rebalance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.within = d
	close(s.spread)
	s.spread = make(chan struct{})
}

// spreading is closed at the next Rebalance; within is that of the last one.
func (s *Server) spreading() (next <-chan struct{}, within time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spread, s.within
}

// stream serves one stream. This goroutine sends, another one receives.
func (s *Server) stream(stream grpc.ServerStream, sotw bool) error {
	if s.store.Seq() == 0 {
		return status.Error(codes.Unavailable, "this control plane has not read the cluster yet")
	}
	principal, err := s.opts.Authenticate(stream.Context())
	if err != nil {
		s.metrics.refused.WithLabelValues("unauthenticated").Inc()
		from := address(stream.Context())
		s.log(host(from), func() {
			s.opts.Logger.Info("Refused a stream", "peer", from, "reason", err.Error())
		})
		return status.Error(codes.Unauthenticated, err.Error())
	}
	spread, _ := s.spreading()
	ss := s.enter(principal, func() {
		if s.opts.Ended != nil {
			s.opts.Ended(stream.Context())
		}
	})
	ss.sotw = sotw
	defer s.end(ss)
	s.verify(ss) // after it can be found by Recheck
	life := time.Duration(math.MaxInt64)
	if s.opts.MaxAge > 0 {
		life = s.opts.MaxAge/2 + rand.N(s.opts.MaxAge) //nolint:gosec // spreads load only
	}
	defer s.expire(ss)()
	old, opened := time.NewTimer(life), time.Now()
	defer old.Stop()
	received := make(chan error, 1)
	go func() { received <- s.receive(ss, stream) }()
	for {
		select {
		case err := <-received:
			return err
		case <-ss.wakeup:
			ss.awake()
			if err := s.send(ss, stream); err != nil {
				return err
			}
		case <-spread:
			var within time.Duration
			spread, within = s.spreading()
			if end := time.Since(opened) + rand.N(max(within, 1)); end < life { //nolint:gosec // spreads load only
				life = end
				old.Reset(life - time.Since(opened))
			}
		case err := <-ss.ended:
			return s.ending(ss, err)
		case <-old.C:
			return status.Error(codes.Unavailable, "the stream has reached its age; connect again")
		case <-s.stop:
			return status.Error(codes.Unavailable, "this control plane goes away; connect again")
		}
	}
}

func (s *Server) malformed(ss *session, err error) error {
	s.metrics.malformed.Inc()
	ss.away()
	return s.ending(ss, err)
}

// send sends all that may be sent now.
func (s *Server) send(ss *session, stream grpc.ServerStream) error {
	for {
		r := ss.next(s.now())
		if r == nil {
			return nil
		}
		m := s.metrics.of(r.kind)
		m.responses.Inc()
		m.resources.Add(float64(r.resources))
		m.removals.Add(float64(r.removed))
		m.bytes.Add(float64(r.size))
		if err := stream.SendMsg(r); err != nil {
			return err
		}
	}
}

// enter begins a stream. away is called, maybe more than once, when the stream is to end because of its
// client.
func (s *Server) enter(p Principal, away func()) *session {
	ss := &session{srv: s, principal: p, away: away, since: s.now(), wakeup: make(chan struct{}, 1), ended: make(chan error, 1)}
	s.mu.Lock()
	s.lastID++
	ss.id = s.lastID
	who := Owner{Key: ss.id}
	if s.opts.Owner != nil {
		who = s.opts.Owner(p)
	}
	over := s.owners.join(who, ss, s.now())
	s.sessions[ss] = struct{}{}
	s.streams.Add(1)
	s.metrics.streams.Inc()
	s.mu.Unlock()
	for _, old := range over {
		old.endWith(status.Errorf(codes.ResourceExhausted, "more than %d streams at a time; the oldest ends", who.Streams))
	}
	ss.mu.Lock() // after s.sessions has it: a Relocate at the same time comes before this, or sees it
	defer ss.mu.Unlock()
	s.locate(ss)
	return ss
}

func (s *Server) end(ss *session) {
	touched := ss.close()
	ss.sleep()
	s.mu.Lock()
	delete(s.sessions, ss)
	s.mu.Unlock()
	s.owners.leave(ss, s.now())
	s.streams.Add(-1)
	s.metrics.streams.Dec()
	s.progress.note(touched)
}

// answered passes on an ACK or a NACK. No lock is held.
func (s *Server) answered(ss *session, w *watch, text string, sentAt int64, entries []*entry, acks []Ack) {
	m := s.metrics.of(w.kind)
	if text == "" {
		m.acks.Inc()
		if sentAt != 0 {
			s.metrics.latency.Observe(time.Duration(s.now().UnixNano() - sentAt).Seconds())
		}
	} else {
		m.nacks.Inc()
		s.log(ss.owner.key, func() {
			var names []string
			for _, e := range entries[:min(len(entries), maxShown)] {
				names = append(names, e.key.String())
			}
			s.opts.Logger.Info("A proxy rejected a resource", "principal", ss.principal, "stream", ss.id, "resources", names, "reason", text)
		})
	}
	s.progress.note(entries)
	for _, a := range acks {
		s.opts.OnAck(a)
	}
}

// refuse counts and logs a name that is answered as if it did not exist.
func (s *Server) refuse(ss *session, k Key, reason string) {
	s.metrics.refused.WithLabelValues(reason).Inc()
	s.log(ss.owner.key, func() {
		s.opts.Logger.Info("Refused a name", "principal", ss.principal, "stream", ss.id, "resource", k.String(), "reason", reason)
	})
}

func address(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}
