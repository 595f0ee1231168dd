// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"tulle.dev/tulle/internal/dataplane/tally"
	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/protocol"
)

// Limits of what is reported.
const (
	// reportAnyway is how often an idle proxy says that all is as before.
	reportAnyway = 30 * time.Second
	// reportLeast is the least time between reports, however often the phase changes.
	reportLeast = 200 * time.Millisecond
	// A look costs Envoy's main thread time in proportion to its configuration, 40 ms with 2,000 Services:
	// it may take one part in lookShare of the time, but there is one every lookLongest at least.
	lookShare   = 400
	lookLongest = 15 * time.Second
	// maxMessage of a report, in bytes.
	maxMessage = 512
)

// course is how the proxy goes, apart from its traffic. It is published as a whole.
type course struct {
	phase   protocol.Phase
	message string
	// restarts counts Envoys that ended by themselves; envoys those that were started, at the time.
	restarts, envoys uint64
	started          time.Time
}

// reporter tells the control plane how the proxy does, on a goroutine of its own: it goes on while the
// agent's is busy with a drain.
type reporter struct {
	read func(context.Context) (tally.Sample, error)
	tell func(protocol.Report)
	log  *slog.Logger

	course  atomic.Pointer[course]
	changed chan struct{} // capacity 1: there is another phase

	// Used by run only.
	window tally.Window
	envoys uint64
	plain  map[string]uint64 // as of the last look
	last   protocol.Report   // that was told
	told   time.Time
	costs  [3]time.Duration // of the last looks, in turn
	looks  int
}

func newReporter(read func(context.Context) (tally.Sample, error), tell func(protocol.Report), log *slog.Logger) *reporter {
	r := &reporter{
		read: read, tell: tell, log: log,
		changed: make(chan struct{}, 1), window: tally.Window{Length: protocol.ReportWindow},
	}
	r.course.Store(&course{phase: protocol.PhaseStarting})
	return r
}

// see takes over how the proxy goes; a change of the phase is reported at once. Safe for concurrent use.
func (r *reporter) see(c course) {
	old := r.course.Swap(&c)
	if old.phase == c.phase && old.envoys == c.envoys {
		return
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// run reports until ctx is done.
func (r *reporter) run(ctx context.Context) {
	clock := time.NewTimer(protocol.ReportEvery)
	defer clock.Stop()
	for {
		r.report(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
			r.sample(ctx)
			clock.Reset(pace(r.costs))
		case <-r.changed:
			select {
			case <-ctx.Done():
				return
			case <-time.After(reportLeast - time.Since(r.told)):
			}
		}
	}
}

// report tells if it is time.
func (r *reporter) report(now time.Time) {
	c := *r.course.Load()
	if c.envoys != r.envoys {
		r.envoys = c.envoys
		r.window.Begin(c.started)
		r.plain = nil
	}
	f := r.window.Figures()
	next := protocol.Report{
		Phase: c.phase, Message: shorten(c.message), Window: protocol.Duration(f.Window.Round(time.Millisecond)), Requests: f.Requests, Failures: f.Failures,
		P50: f.P50, P99: f.P99, Restarts: c.restarts, Plaintext: r.plain,
	}
	if !due(r.last, next, now.Sub(r.told)) {
		return
	}
	r.last, r.told = next, now
	r.tell(next)
}

// due says whether next is to be told, when last was told that long ago.
func due(last, next protocol.Report, ago time.Duration) bool {
	if last.Phase != next.Phase || ago > reportAnyway-protocol.ReportEvery/2 {
		return true
	}
	last.Window = next.Window // time goes by; that is no news
	return !reflect.DeepEqual(last, next)
}

// plaintext are the addresses to report. Where there are too many, those of private networks are
// preferred, because pods are there, and then those that sent most.
func plaintext(all []tally.Source) map[string]uint64 {
	if len(all) == 0 {
		return nil
	}
	if len(all) > protocol.MaxPlaintext {
		all = slices.Clone(all)
		slices.SortFunc(all, func(a, b tally.Source) int {
			if pa, pb := private(a.Addr), private(b.Addr); pa != pb {
				if pa {
					return -1
				}
				return 1
			}
			return cmp.Or(cmp.Compare(b.Count, a.Count), a.Addr.Compare(b.Addr))
		})
		all = all[:protocol.MaxPlaintext]
	}
	out := make(map[string]uint64, len(all))
	for _, s := range all {
		out[s.Addr.String()] = s.Count
	}
	return out
}

// private tells whether an address is of a private network, RFC 6598 included.
func private(a netip.Addr) bool {
	return a.IsPrivate() || netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10).Contains(a)
}

func (r *reporter) sample(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookLongest/5)
	defer cancel()
	began := time.Now()
	s, err := r.read(ctx)
	if err != nil {
		r.log.Debug("Reading what Envoy has counted failed", "error", err) // there may be none at the moment
		return
	}
	r.costs[r.looks%len(r.costs)] = time.Since(began)
	r.looks++
	if c := r.course.Load(); c.envoys == r.envoys {
		r.window.Add(time.Now(), s)
		r.plain = plaintext(s.Plaintext)
	}
}

// pace is how long to wait for the next look. The cheapest of the last ones tells what a look costs: the
// others may have waited for a processor.
func pace(costs [3]time.Duration) time.Duration {
	return min(max(lookShare*slices.Min(costs[:]), protocol.ReportEvery), lookLongest)
}

// shorten bounds a text.
func shorten(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage-3], "") + "…"
}

// note encodes who reports and what.
func (s Settings) note(r protocol.Report) ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	n := s.node()
	return wire.Node(n.ID, n.Cluster, map[string]string{protocol.MetaReport: string(b)}), nil
}
