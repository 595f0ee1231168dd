// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package referenced

import (
	"reflect"
	"slices"
	"time"

	"github.com/go-logr/logr"

	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/schedule"
	"tulle.dev/tulle/internal/controlplane/source"
)

// How long things may take.
const (
	// patience bounds how long the first batch waits for what it refers to. An API server that has just started
	// refuses for a moment what it later allows, and a first batch without certificates would take every HTTPS
	// listener away.
	patience = 30 * time.Second
	// hold bounds how long a later change of an object waits for what it refers to.
	hold = 5 * time.Second
	// firstRetry and lastRetry are the delays between reads that fail.
	firstRetry, lastRetry = 250 * time.Millisecond, 30 * time.Second
	// polling is how often everything is read again of a kind that may not be watched, and a Secret of another type.
	polling = 30 * time.Second
	// pollingRate bounds the reads that nothing has caused, in a second and all together: of what may not be watched, may
	// not be read, or is a Secret of another type. With more than some 600 of them, all take longer than polling.
	pollingRate = 20
)

// found is what a read by name found.
type found struct {
	ref     Ref
	object  any // nil: there is nothing that counts. With err: what is passed on if nothing was ever read.
	version string
	err     error
}

// entry is a Secret or ConfigMap that is referred to.
type entry struct {
	refs    int    // how many objects refer to it, of those that were passed on and those that are held
	version string // as read last
	object  any    // as read last; nil: there is nothing
	// settled: a read has succeeded, or was waited for long enough.
	settled bool
	// reading: a read has begun. again: another has to follow it.
	reading, again bool
	failed         int  // reads in a row
	otherType      bool // it is a Secret whose changes nobody reports
	// refusal is what is passed on instead of the object if it may not be read; nil: it may, as far as is known.
	refusal any
}

// held are events that wait for references.
type held struct {
	events []source.Event
	refs   []Ref
	until  time.Time
	first  bool // it is the first batch
}

// drop are references that have gone. They count until everything that was held when they went was passed on.
type drop struct {
	refs  []Ref
	until time.Time
}

// loader decides what is read and when events are passed on. It does no I/O and belongs to one goroutine; its
// caller tells it the time, and carries out the reads that next returns.
type loader struct {
	log    logr.Logger
	wanted *wanted
	of     map[owner]map[Ref]bool // what the objects refer to, as they came last
	all    map[Ref]*entry
	todo   queue // to be read at once
	held   []held
	drops  []drop
	late   *schedule.Schedule[Ref] // when to read again
	polls  queue                   // to be read again at pollingRate
	paced  time.Time               // when the next of polls may be read
	polled map[source.Kind]time.Time
	begun  bool // the first batch has come
	open   bool // and was passed on
	// want is told of what is referred to, and of what no longer is.
	want func(Ref, bool)
}

func newLoader(log logr.Logger, want func(Ref, bool)) *loader {
	l := &loader{log: log, of: map[owner]map[Ref]bool{}, all: map[Ref]*entry{}, late: schedule.New[Ref](), polled: map[source.Kind]time.Time{}, want: want}
	l.wanted = newWanted(func(f incr.Failure) {
		log.Info("Reading references failed, the last good result is kept", "collection", f.Collection, "key", f.Key, "problem", f.Problem, "stack", f.Stack)
	})
	return l
}

// take takes a batch and returns what is to be passed on now; nil is nothing. The first batch is passed on as one,
// also if it is empty.
func (l *loader) take(batch []source.Event, now time.Time) []source.Event {
	for _, e := range batch {
		l.wanted.set(e)
	}
	came, went := l.wanted.commit()
	for _, p := range went {
		delete(l.of[p.owner], p.ref)
		if len(l.of[p.owner]) == 0 {
			delete(l.of, p.owner)
		}
	}
	for _, p := range came {
		if l.of[p.owner] == nil {
			l.of[p.owner] = map[Ref]bool{}
		}
		l.of[p.owner][p.ref] = true
		l.refer(p.ref)
	}
	if !l.begun {
		l.begun, l.paced = true, now
		h := held{events: batch, first: true, until: now.Add(patience)}
		for r, e := range l.all {
			if !e.settled {
				h.refs = append(h.refs, r)
			}
		}
		l.held = append(l.held, h)
		return l.release(now)
	}
	out := l.sort(batch, came, now)
	until := l.lastHeld(now) // what is held now may still be known by what it referred to before
	if len(went) > 0 {
		d := drop{until: until}
		for _, p := range went {
			d.refs = append(d.refs, p.ref)
		}
		l.drops = append(l.drops, d)
	}
	return slices.Concat(out, l.release(now))
}

// sort returns the events of a batch that wait for nothing, and holds the others.
func (l *loader) sort(batch []source.Event, came []pair, now time.Time) []source.Event {
	own := map[owner]bool{}
	for _, e := range batch {
		own[owner{e.Kind, e.Key}] = true
	}
	for i := range l.held { // what came again is out of date
		l.held[i].events = slices.DeleteFunc(l.held[i].events, func(e source.Event) bool { return own[owner{e.Kind, e.Key}] })
	}
	var others []Ref // new references of objects that are not in the batch: a class or a grant makes them count
	for _, p := range came {
		if !own[p.owner] && !l.all[p.ref].settled {
			others = append(others, p.ref)
		}
	}
	var out []source.Event
	for _, e := range batch {
		var refs []Ref
		switch {
		case e.Object == nil:
		case e.Kind == source.GatewayClass || e.Kind == source.ReferenceGrant:
			refs = others
		default:
			refs = l.unsettled(owner{e.Kind, e.Key})
		}
		if len(refs) == 0 {
			out = append(out, e)
			continue
		}
		l.held = append(l.held, held{events: []source.Event{e}, refs: refs, until: now.Add(hold)})
	}
	return out
}

func (l *loader) unsettled(o owner) []Ref {
	var out []Ref
	for r := range l.of[o] {
		if !l.all[r].settled {
			out = append(out, r)
		}
	}
	return out
}

// refer counts a reference more.
func (l *loader) refer(r Ref) {
	e := l.all[r]
	if e == nil {
		e = &entry{}
		l.all[r] = e
		l.want(r, true)
		l.todo.add(r)
	}
	e.refs++
}

// lastHeld is when the last of what is held now will have been passed on.
func (l *loader) lastHeld(now time.Time) time.Time {
	for _, h := range l.held {
		if h.until.After(now) {
			now = h.until
		}
	}
	return now
}

// done takes the result of a read and returns what is to be passed on.
func (l *loader) done(f found, now time.Time) []source.Event {
	e := l.all[f.ref]
	if e == nil {
		return nil // nothing refers to it any more
	}
	e.reading = false
	if e.again {
		e.again = false
		l.todo.add(f.ref)
	}
	if f.err != nil {
		if e.failed == 0 {
			l.log.Info("Reading an object that is referred to failed, what was read last is kept", "kind", string(f.ref.Kind), "object", f.ref.Key.String(), "error", f.err.Error())
		}
		l.late.Set(f.ref, now.Add(min(lastRetry, firstRetry<<min(e.failed, 16))))
		e.failed++
		e.refusal = f.object
		return slices.Concat(l.refused(f.ref, e), l.release(now))
	}
	e.failed, e.settled, e.version, e.refusal, e.otherType = 0, true, f.version, nil, false
	l.late.Delete(f.ref)
	if t, ok := f.object.(source.TLS); ok && t.OtherType { // nothing tells when it is deleted
		e.otherType = true
		l.late.Set(f.ref, now.Add(polling))
	}
	return slices.Concat(l.set(f.ref, e, f.object), l.release(now))
}

// set keeps an object and returns the change, if it is one.
func (l *loader) set(r Ref, e *entry, object any) []source.Event {
	if reflect.DeepEqual(e.object, object) {
		return nil
	}
	e.object = object
	if !l.open {
		return nil // it will come with the first batch
	}
	return []source.Event{{Kind: r.Kind, Key: r.Key, Object: object}}
}

// refused says that an object may not be read, unless it was read before or is still waited for.
func (l *loader) refused(r Ref, e *entry) []source.Event {
	if e.refusal == nil || e.object != nil || !e.settled {
		return nil
	}
	return l.set(r, e, e.refusal)
}

// changed says which resource version an object has now; "" if it was deleted.
func (l *loader) changed(r Ref, version string) {
	e := l.all[r]
	switch {
	case e == nil || e.version == version && e.settled:
	case e.otherType && version == "": // a list of those that are watched never has it
		l.polls.add(r)
	default:
		l.again(r, e)
	}
}

// unwatched says that a kind may not be watched.
func (l *loader) unwatched(kind source.Kind, now time.Time) {
	if now.Sub(l.polled[kind]) < polling {
		return
	}
	l.polled[kind] = now
	for r := range l.all {
		if r.Kind == kind {
			l.polls.add(r)
		}
	}
	l.poll(now)
}

func (l *loader) again(r Ref, e *entry) {
	if e.reading {
		e.again = true
		return
	}
	l.todo.add(r)
}

// pass returns what is to be passed on, or read again, because of the time.
func (l *loader) pass(now time.Time) []source.Event {
	for {
		r, due, ok := l.late.First()
		if !ok || now.Before(due) {
			break
		}
		l.late.Delete(r)
		if e := l.all[r]; e.waitedFor() {
			l.again(r, e)
		} else {
			l.polls.add(r)
		}
	}
	l.poll(now)
	return l.release(now)
}

// poll begins the next read of polls, if there has been no other one for long enough.
func (l *loader) poll(now time.Time) {
	for !now.Before(l.paced) {
		r, ok := l.polls.next()
		if !ok {
			return
		}
		if e := l.all[r]; e != nil {
			l.again(r, e)
			l.paced = now.Add(time.Second / pollingRate)
		}
	}
}

// waitedFor tells whether objects may be waiting for a read that has failed. They do for as long as the delays grow.
func (e *entry) waitedFor() bool { return !e.settled && firstRetry<<(e.failed-1) < lastRetry }

// wake is when pass has something to do; zero: never.
func (l *loader) wake() time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, h := range l.held {
		sooner(h.until)
	}
	for _, d := range l.drops {
		sooner(d.until)
	}
	if _, due, ok := l.late.First(); ok {
		sooner(due)
	}
	if !l.polls.empty() {
		sooner(l.paced)
	}
	return at
}

// next is what is to be read now.
func (l *loader) next() (Ref, bool) {
	for {
		r, ok := l.todo.next()
		if !ok {
			return r, false
		}
		if e := l.all[r]; e != nil {
			e.reading = true
			l.late.Delete(r)
			return r, true
		}
	}
}

// release returns the events that have waited for long enough, and the end of what nothing refers to any more.
func (l *loader) release(now time.Time) (out []source.Event) {
	kept := l.held[:0]
	for _, h := range l.held {
		for len(h.refs) > 0 && l.isSettled(h.refs[0]) {
			h.refs = h.refs[1:] // each is looked at once
		}
		if len(h.refs) > 0 && now.Before(h.until) {
			kept = append(kept, h)
			continue
		}
		for _, r := range h.refs {
			if e := l.all[r]; e != nil {
				e.settled = true // it is not waited for again
				out = append(out, l.refused(r, e)...)
			}
		}
		out = append(out, h.events...)
		if h.first {
			out = append(l.opened(), out...)
		}
	}
	clear(l.held[len(kept):])
	l.held = kept
	l.drops = slices.DeleteFunc(l.drops, func(d drop) bool {
		if len(l.held) > 0 && now.Before(d.until) {
			return false
		}
		for _, r := range d.refs {
			out = append(out, l.dropped(r)...)
		}
		return true
	})
	return out
}

func (l *loader) isSettled(r Ref) bool {
	e := l.all[r]
	return e == nil || e.settled
}

// dropped counts a reference less, and returns the end of what nothing refers to any more.
func (l *loader) dropped(r Ref) []source.Event {
	e := l.all[r]
	if e.refs--; e.refs > 0 {
		return nil
	}
	delete(l.all, r)
	l.late.Delete(r)
	l.want(r, false)
	if e.object == nil || !l.open {
		return nil
	}
	return []source.Event{{Kind: r.Kind, Key: r.Key}}
}

// opened returns all that was read before the first batch was passed on, sorted. It is not nil.
func (l *loader) opened() []source.Event {
	l.open = true
	out := []source.Event{}
	for r, e := range l.all {
		if e.object != nil {
			out = append(out, source.Event{Kind: r.Kind, Key: r.Key, Object: e.object})
		}
	}
	slices.SortFunc(out, func(a, b source.Event) int { return byRef(Ref{a.Kind, a.Key}, Ref{b.Kind, b.Key}) })
	return out
}
