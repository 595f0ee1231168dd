// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"slices"
	"sync"
	"time"
)

// Owner is whose a stream is. What the streams of one owner make the server do and remember is counted
// together.
type Owner struct {
	// Key identifies the owner. It is comparable.
	Key any
	// Streams is how many streams the owner may have at a time: one more ends the oldest. If 0, the
	// number is not limited.
	Streams int
	// Group is whose the owner is, a namespace for example; it is comparable. If nil, the owner is a group of its own.
	Group any
}

// Bounds of what clients can make the server remember and do. What exists is bounded by the mesh; these
// are about what does not exist, and about time.
const (
	// spareNames is how many names a stream may subscribe to beyond twice what exists: destinations and
	// their endpoints, and what a client has from before.
	spareNames = 4000
	// A subscription to a name that does not exist is charged with the length of the name and unknownCost
	// bytes. An owner may hold unknownEach, and all owners together unknownAll. An owner that holds
	// less than unknownShare may hold more even when unknownAll is used up, so that others can't
	// take everything.
	unknownCost  = 192
	unknownEach  = 4 << 20
	unknownShare = 32 << 10
	unknownAll   = 64 << 20
	// The account of an owner holds accountSize of time. A request costs requestTime and byteTime for
	// each of its bytes, nameBytes of its names included; a stream costs streamTime.
	accountSize = 32 * time.Second
	requestTime = 5 * time.Millisecond
	byteTime    = time.Second / (1 << 20)
	nameBytes   = 32
	streamTime  = 50 * time.Millisecond
)

// owners are those of the open streams, and those whose account is not full yet.
type owners struct {
	mu      sync.Mutex // a leaf: nothing is locked while it is held
	byKey   map[any]*owner
	groups  map[any]*group
	unknown int64 // bytes, of all owners
	opened  int
}

// group is guarded by owners.mu. It is forgotten when it has neither.
type group struct {
	key    any
	owners int // that have streams
	names  int // subscribed, of all these
}

// owner is guarded by owners.mu.
type owner struct {
	all      *owners
	key      any
	group    *group
	sessions []*session // oldest first
	names    int        // subscribed, of all streams
	// bound are the names of Options.Bounded, with the number of streams that subscribe to each.
	bound   map[Key]int
	unknown int64
	paid    time.Time // until when its time is used
}

// join adds a stream to its owner and returns the streams that are too many.
func (l *owners) join(who Owner, ss *session, now time.Time) (over []*session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened++; l.opened%1024 == 0 {
		for k, o := range l.byKey {
			if o.idle(now) {
				delete(l.byKey, k)
			}
		}
	}
	o := l.byKey[who.Key]
	if o == nil {
		o = &owner{all: l, key: who.Key}
		l.byKey[who.Key] = o
	}
	ss.owner = o
	if len(o.sessions) == 0 {
		l.enter(o, who)
	}
	o.sessions = append(o.sessions, ss)
	if who.Streams > 0 && len(o.sessions) > who.Streams {
		n := len(o.sessions) - who.Streams
		over = slices.Clone(o.sessions[:n])
		o.sessions = slices.Delete(o.sessions, 0, n)
	}
	o.spend(streamTime, now)
	return over
}

// leave takes a stream from its owner.
func (l *owners) leave(ss *session, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := ss.owner
	had := len(o.sessions)
	o.sessions = slices.DeleteFunc(o.sessions, func(s *session) bool { return s == ss })
	if had > 0 && len(o.sessions) == 0 {
		o.group.owners--
		l.tidy(o.group)
	}
	if o.idle(now) {
		delete(l.byKey, o.key)
	}
}

// enter counts an owner that has its first stream in its group. Names of streams that are being closed stay in the
// group where they were counted, which is the same as long as there are any.
func (l *owners) enter(o *owner, who Owner) {
	key := who.Group
	if key == nil {
		key = o
	}
	if o.group == nil || o.names == 0 {
		if l.groups == nil {
			l.groups = map[any]*group{}
		}
		if o.group = l.groups[key]; o.group == nil {
			o.group = &group{key: key}
			l.groups[key] = o.group
		}
	}
	o.group.owners++
}

func (l *owners) tidy(g *group) {
	if g.owners == 0 && g.names == 0 && l.groups[g.key] == g {
		delete(l.groups, g.key)
	}
}

// of returns the streams of an owner.
func (l *owners) of(key any) []*session {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.byKey[key]; o != nil {
		return slices.Clone(o.sessions)
	}
	return nil
}

// idle: nothing is to be remembered of the owner.
func (o *owner) idle(now time.Time) bool {
	return len(o.sessions) == 0 && o.names == 0 && !o.paid.After(now.Add(-accountSize))
}

func (o *owner) spend(d time.Duration, now time.Time) {
	if earliest := now.Add(-accountSize); o.paid.Before(earliest) {
		o.paid = earliest
	}
	o.paid = o.paid.Add(d)
}

// pay takes the cost of a request from the account.
func (o *owner) pay(bytes, names int, now time.Time) {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	o.spend(requestTime+time.Duration(bytes+nameBytes*names)*byteTime, now)
}

// debt is how long the owner must wait before its next request.
func (o *owner) debt(now time.Time) time.Duration {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	return max(0, o.paid.Sub(now))
}

// count adds to the names that the owner's streams subscribe to. It returns false if these are more than two streams
// may have, of limit each; or more than one, while all owners of the group have more than one for each of them and
// another one. So what a group has grows with its owners, and an owner that needs no more than a stream may have is
// not refused because of others.
func (o *owner) count(n, limit int) bool {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	o.names += n
	o.group.names += n
	o.all.tidy(o.group)
	return o.names <= limit || o.names <= 2*limit && o.group.names <= (o.group.owners+1)*limit
}

// bind notes that one stream more or less subscribes to a name of Options.Bounded.
func (o *owner) bind(k Key, change int) {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	if o.bound == nil {
		o.bound = map[Key]int{}
	}
	if o.bound[k] += change; o.bound[k] == 0 {
		delete(o.bound, k)
	}
}

// bounded returns how many different names of Options.Bounded the owner's streams subscribe to, and which of these
// names are among them.
func (o *owner) bounded(url string, names []string) (count int, held []bool) {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	held = make([]bool, len(names))
	for i, n := range names {
		_, held[i] = o.bound[Key{url, n}]
	}
	return len(o.bound), held
}

// charge takes a name that does not exist into account, or returns false if that would be too much.
func (o *owner) charge(name string) bool {
	cost := costOf(name)
	l := o.all
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.unknown+cost > unknownEach || l.unknown+cost > unknownAll && o.unknown+cost > unknownShare {
		return false
	}
	o.unknown += cost
	l.unknown += cost
	return true
}

// refund is the opposite of charge.
func (o *owner) refund(name string) {
	cost := costOf(name)
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	o.unknown -= cost
	o.all.unknown -= cost
}

func costOf(name string) int64 { return int64(len(name)) + unknownCost }
