// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package incr

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
)

// Engine owns a graph of collections. The zero value is an empty graph. An
// Engine and everything built on it belong to one goroutine.
type Engine struct {
	// OnFailure, if set before the first Commit, is called once for each new
	// failure, in the middle of a Commit: it must only take note.
	OnFailure func(Failure)

	stages     []stage
	names      map[string]bool
	sealed     bool // the first Commit has begun: the graph can't grow any more
	evaluating bool // a derive function runs: only its Reader may read
	failures   map[failureID]Failure
}

// stage is one collection in the order of construction.
type stage interface {
	name() string
	propagate() // run what the batch made dirty, then apply what was staged
	finish()    // forget the batch
	evals() int // functions run in the last Commit
}

// Failure is one key that could not be computed: its function panicked, or
// another key had already emitted the same output.
type Failure struct {
	// Collection is the name of the collection that lacks, or still has, an old value.
	Collection string
	// Key is the source key whose function panicked, or the output key that was emitted twice.
	Key any
	// Problem is the panic's value in words, or who emitted the key.
	Problem string
	// Stack is where the panic happened; empty for an output emitted twice.
	Stack string
}

type failureKind uint8

const (
	panicked   failureKind = iota // a derive function
	collided                      // an output key with several emitters
	unindexed                     // an index's key function
	uncompared                    // an equality
)

// failureID tells failures apart: each is reported when it appears and
// dropped when its cause is gone.
type failureID struct {
	collection string
	kind       failureKind
	index      int // which one, of unindexed
	key        any
}

// Commit propagates what was written to the inputs since the last Commit, in
// one pass, and calls publish, which may be nil, while Collection.Changes is
// valid. Inputs that publish writes belong to the next Commit.
func (e *Engine) Commit(publish func()) {
	e.sealed = true
	for _, s := range e.stages {
		s.propagate()
	}
	if publish != nil {
		publish()
	}
	for _, s := range e.stages {
		s.finish()
	}
}

// Evals returns how many derive functions the last Commit ran, per collection
// that ran any. It is meant for tests: cost is part of the contract.
func (e *Engine) Evals() map[string]int {
	m := map[string]int{}
	for _, s := range e.stages {
		if n := s.evals(); n > 0 {
			m[s.name()] = n
		}
	}
	return m
}

// TotalEvals returns how many derive functions the last Commit ran.
func (e *Engine) TotalEvals() int {
	n := 0
	for _, s := range e.stages {
		n += s.evals()
	}
	return n
}

// Failures returns what is broken now, sorted by collection and key.
func (e *Engine) Failures() []Failure {
	l := make([]Failure, 0, len(e.failures))
	for _, f := range e.failures {
		l = append(l, f)
	}
	slices.SortFunc(l, func(a, b Failure) int {
		if c := strings.Compare(a.Collection, b.Collection); c != 0 {
			return c
		}
		if c := strings.Compare(fmt.Sprint(a.Key), fmt.Sprint(b.Key)); c != 0 {
			return c
		}
		return strings.Compare(a.Problem, b.Problem)
	})
	return l
}

// add appends a stage. Mistakes here are mistakes of the program's wiring,
// the same in every run, so they panic.
func (e *Engine) add(name string, s stage) {
	if e.sealed {
		panic("incr: collection " + name + " is built after the first Commit")
	}
	if name == "" || e.names[name] {
		panic("incr: collections need distinct names, got " + fmt.Sprintf("%q", name))
	}
	if e.names == nil {
		e.names = map[string]bool{}
		e.failures = map[failureID]Failure{}
	}
	e.names[name] = true
	e.stages = append(e.stages, s)
}

// fail records a failure and reports it unless it is known in the same words.
func (e *Engine) fail(id failureID, problem, stack string) {
	old, known := e.failures[id]
	f := Failure{Collection: id.collection, Key: id.key, Problem: problem, Stack: stack}
	e.failures[id] = f
	if e.OnFailure != nil && (!known || old.Problem != problem) {
		e.OnFailure(f)
	}
}

// heal forgets a failure. Its id is a function because there is hardly ever one.
func (e *Engine) heal(id func() failureID) {
	if len(e.failures) > 0 {
		delete(e.failures, id())
	}
}

// protect runs f, which is code of the graph's builder. A panic in it becomes
// a failure, and its end heals that failure. It returns false if f panicked.
func (e *Engine) protect(id func() failureID, f func()) (ok bool) {
	defer func() {
		if ok {
			e.heal(id)
		} else if v := recover(); v != nil {
			e.fail(id(), fmt.Sprint(v), string(debug.Stack()))
		}
	}()
	f()
	return true
}

// emptied returns an empty map. It does not reuse one that was large: clear
// and range take time in proportion to the largest size that a map ever had,
// so one big batch would make every later small one slow.
func emptied[K comparable, V any](m map[K]V) map[K]V {
	if len(m) > 32 {
		return map[K]V{}
	}
	clear(m)
	return m
}

// emptiedList does the same for a list, whose memory would stay.
func emptiedList[T any](l []T) []T {
	if cap(l) > 1024 {
		return nil
	}
	clear(l)
	return l[:0]
}
