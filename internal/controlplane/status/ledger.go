// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"context"
	"reflect"
	"slices"
	"sync"

	"tulle.dev/tulle/internal/controlplane/xds"
)

// Acks is what the ledger asks of the xDS server. O(subscribers of the resource).
type Acks interface {
	Acks(key xds.Key) (needed, acked int, nacks []xds.Nack)
	Subscribers(key xds.Key, see func(xds.Subscriber) bool)
}

// Requirement is what a Subject needs the proxies to have acknowledged.
type Requirement struct {
	// Config identifies the configuration; see Progress.Config.
	Config string
	// Generation of the object that it was made for.
	Generation int64
	// Lead are the listeners whose subscribers are the proxies that need the Subject.
	Lead []xds.Key
	// Follow holds, for each of Lead, the route configuration that a proxy asks for once it has the
	// listener; none for a listener that needs none. It counts only when as many have acknowledged it.
	Follow []xds.Key
	// Rest are what these refer to, as far as each proxy has subscribed to it.
	Rest []xds.Key
	// Near tells the proxies that the Subject concerns from all others.
	Near Near
}

func (r Requirement) keys() []xds.Key { return slices.Concat(r.Lead, r.Follow, r.Rest) }

// Ledger keeps the progress of every Subject on this replica. Safe for concurrent use.
type Ledger struct {
	acks    Acks
	release string

	mu       sync.Mutex // guards all below
	needs    map[Subject]Requirement
	byKey    map[xds.Key]map[Subject]struct{}
	progress map[Subject]entry
	seq      uint64
	gone     int           // entries of progress that are only a notice of removal
	floor    uint64        // notices up to this number have been dropped
	wake     chan struct{} // closed and replaced at every change
}

type entry struct {
	Progress
	seq  uint64
	gone bool
}

// NewLedger returns an empty ledger of a replica of this release.
func NewLedger(acks Acks, release string) *Ledger {
	return &Ledger{
		acks: acks, release: release, needs: map[Subject]Requirement{}, byKey: map[xds.Key]map[Subject]struct{}{},
		progress: map[Subject]entry{}, wake: make(chan struct{}),
	}
}

// Require sets what a Subject needs. The zero Requirement forgets the Subject.
func (l *Ledger) Require(s Subject, r Requirement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.needs[s].keys() {
		delete(l.byKey[k], s)
		if len(l.byKey[k]) == 0 {
			delete(l.byKey, k)
		}
	}
	if r.Config == "" {
		delete(l.needs, s)
		if e, ok := l.progress[s]; ok && !e.gone {
			l.set(s, entry{gone: true})
			l.prune()
		}
		return
	}
	l.needs[s] = r
	for _, k := range r.keys() {
		m := l.byKey[k]
		if m == nil {
			m = map[Subject]struct{}{}
			l.byKey[k] = m
		}
		m[s] = struct{}{}
	}
	l.refresh(s)
}

// Touch says that acknowledgements of these resources changed.
func (l *Ledger) Touch(keys []xds.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		for s := range l.byKey[k] {
			l.refresh(s)
		}
	}
}

// refresh recomputes one Subject.
func (l *Ledger) refresh(s Subject) {
	r := l.needs[s]
	p := Progress{Config: r.Config, Generation: r.Generation, Split: true}
	if n, all := acknowledged(l.acks, r); all {
		p.Needed, p.Acked = n, n
	} else {
		tally(l.acks, r, l.progress[s].Needed+1, &p)
	}
	if old, ok := l.progress[s]; ok && !old.gone && reflect.DeepEqual(old.Progress, p) {
		return
	}
	l.set(s, entry{Progress: p})
}

// maxGone is how many notices of removal are kept for those that ask with a number.
const maxGone = 1000

// prune drops the notices of removal once they are many; who asks with an older number starts afresh.
func (l *Ledger) prune() {
	if l.gone <= maxGone {
		return
	}
	for s, e := range l.progress {
		if e.gone {
			delete(l.progress, s)
		}
	}
	l.gone, l.floor = 0, l.seq
}

func (l *Ledger) set(s Subject, e entry) {
	if l.progress[s].gone {
		l.gone--
	}
	if e.gone {
		l.gone++
	}
	l.seq++
	e.seq = l.seq
	l.progress[s] = e
	close(l.wake)
	l.wake = make(chan struct{})
}

// Report is what changed on a replica since a sequence number.
type Report struct {
	// Seq is the number to ask with next.
	Seq uint64 `json:"seq"`
	// All means that Rows are everything there is, not only what changed.
	All bool `json:"all,omitempty"`
	// Release of the replica; empty from one that does not tell.
	Release string `json:"release,omitempty"`
	Rows    []Row  `json:"rows,omitempty"`
}

// Row is one Subject's progress; Gone means it is no longer there.
type Row struct {
	Subject  Subject  `json:"subject"`
	Progress Progress `json:"progress"`
	Gone     bool     `json:"gone,omitempty"`
}

// Since returns what changed after seq, waiting for a change until ctx ends. seq 0, and a number that
// this ledger can't know any more or never gave, returns everything at once.
func (l *Ledger) Since(ctx context.Context, seq uint64) Report {
	for {
		l.mu.Lock()
		if l.seq != seq || seq == 0 {
			r := Report{Seq: l.seq, Release: l.release, All: seq == 0 || seq < l.floor || seq > l.seq}
			for s, e := range l.progress {
				if r.All && !e.gone || !r.All && e.seq > seq {
					r.Rows = append(r.Rows, Row{Subject: s, Progress: e.Progress, Gone: e.gone})
				}
			}
			l.mu.Unlock()
			return r
		}
		wake := l.wake
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return Report{Seq: seq, Release: l.release}
		case <-wake:
		}
	}
}
