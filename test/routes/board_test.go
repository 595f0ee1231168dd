// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package routes

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/status"
)

// board gathers what is seen of the edits, by whom and when. Edits are numbered over all routes, from 1
// on, so that an answer tells which edit it is of. Safe for concurrent use.
type board struct {
	bell
	number int // of the last edit
	// answered is when each target (see targetOf) first answered as an edit says.
	answered map[int]map[string]time.Time
	// last is the edit that each target answered by last.
	last map[string]int
	// gaps are the times between the last answer by one edit and the first by the next, which is how
	// exactly the latter is known.
	gaps []time.Duration
	// stored and programmed are when the watch told of an edit, and of the status that tells of it.
	stored, programmed map[int]time.Time
	// routes are those that there are, and whether their status says that all proxies have them.
	routes map[string]bool
	// size is the length of a route as JSON, as the API server last sent it.
	size int
	// wrong is what should not be seen: answers of an earlier edit after a later one, and failures.
	wrong []string
}

func newBoard() *board {
	return &board{
		bell: newBell(), answered: map[int]map[string]time.Time{}, last: map[string]int{},
		stored: map[int]time.Time{}, programmed: map[int]time.Time{}, routes: map[string]bool{},
	}
}

// next numbers an edit.
func (b *board) next() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.number++
	return b.number
}

// allProgrammed waits until there are so many routes, and the status of each says that all proxies have it.
func (w *world) allProgrammed(t *testing.T, n int) {
	t.Helper()
	w.board.await(t, 2*time.Minute, "all routes are programmed", func() string {
		programmed := 0
		for _, is := range w.board.routes {
			if is {
				programmed++
			}
		}
		if len(w.board.routes) == n && programmed == n {
			return ""
		}
		return fmt.Sprintf("of %d routes there are %d, of which %d are programmed", n, len(w.board.routes), programmed)
	})
}

// answer takes in that a target's answer has changed. before is when it still was another, zero if it
// has not answered before.
func (b *board) answer(target, answer string, at, before time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.ring()
	n, ok := numberOf(answer)
	was := b.last[target]
	switch {
	case !ok && was == 0:
		return // the route isn't there yet
	case !ok:
		b.wrong = append(b.wrong, fmt.Sprintf("%s answered %q after edit %d", target, answer, was))
		return
	case n < was:
		b.wrong = append(b.wrong, fmt.Sprintf("%s answered by edit %d after edit %d", target, n, was))
		return
	case n == was:
		return // it is itself again, after a failure
	}
	b.last[target] = n
	if b.answered[n] == nil {
		b.answered[n] = map[string]time.Time{}
	}
	b.answered[n][target] = at
	if was > 0 && !before.IsZero() {
		b.gaps = append(b.gaps, at.Sub(before))
	}
}

// forget makes targets new ones: who asks them now has not asked before.
func (b *board) forget(targets []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range targets {
		delete(b.last, t)
	}
}

// route takes in a route as the watch tells of it.
func (b *board) route(r *gwapiv1.HTTPRoute, at time.Time, size int) {
	n, ok := editOf(r)
	if !ok {
		return
	}
	programmed := isProgrammed(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.size, b.routes[r.Name] = size, programmed
	if _, ok := b.stored[n]; !ok {
		b.stored[n] = at
	}
	if _, ok := b.programmed[n]; !ok && programmed {
		b.programmed[n] = at
	}
	b.ring()
}

// gone takes in that a route is there no more.
func (b *board) gone(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.routes, name)
	b.ring()
}

// isProgrammed tells whether all parents say that all proxies have the route as it is now.
func isProgrammed(r *gwapiv1.HTTPRoute) bool {
	if len(r.Status.Parents) < len(r.Spec.ParentRefs) {
		return false
	}
	for _, p := range r.Status.Parents {
		c := apimeta.FindStatusCondition(p.Conditions, status.ConditionProgrammed)
		if c == nil || c.Status != "True" || c.ObservedGeneration != r.Generation {
			return false
		}
	}
	return true
}

// asked is the path that a route redirects: to asked/NUMBER.
const asked = "/edit"

// numberOf reads the edit's number from a Location.
func numberOf(location string) (int, bool) {
	i := strings.LastIndex(location, asked+"/")
	if i < 0 {
		return 0, false
	}
	n, err := strconv.Atoi(location[i+len(asked)+1:])
	return n, err == nil && n > 0
}

// editOf reads it from the route.
func editOf(r *gwapiv1.HTTPRoute) (int, bool) {
	for _, rule := range r.Spec.Rules {
		for _, f := range rule.Filters {
			if d := f.RequestRedirect; d != nil && d.Path != nil && d.Path.ReplaceFullPath != nil {
				return numberOf(*d.Path.ReplaceFullPath)
			}
		}
	}
	return 0, false
}

// fail takes in that something else went wrong.
func (b *board) fail(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong = append(b.wrong, what)
}

// takeWrong returns what should not have been seen until now.
func (b *board) takeWrong() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.wrong
	b.wrong = nil
	return w
}
