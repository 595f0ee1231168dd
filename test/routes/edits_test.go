// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package routes

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/test/figures"
)

// edited is the route of benchEdits, on the Gateway and on the Service that its clients call.
const edited = "edited"

// pace is the least time from one edit to the next, so that each finds the mesh at rest.
const pace = 250 * time.Millisecond

// arrival is how long an edit may take to all proxies before the benchmark gives up.
const arrival = 15 * time.Second

// edit is a change to make: a route, and what it is to be by the edit's number.
type edit struct {
	route string
	rules func(number int) []gwapiv1.HTTPRouteRule
}

// series are edits of the same kind, one after another, each once all proxies have the last. Times are
// from when the edit was sent to the API server.
type series struct {
	proxies int
	// watched is when a plain watcher has it: the baseline, before which nobody can do anything.
	watched figures.Times
	// first and last are when the first proxy answered by it, and when all did.
	first, last figures.Times
	// programmed is when the watcher has the status that says so; patience where it had not by then.
	programmed figures.Times
	patience   time.Duration
	// gaps are how exactly the times of proxies are known.
	gaps figures.Times
	// size is a route's length as JSON.
	size int
}

// plan is how many edits are made, the time at which no other is begun, and how long each waits for the
// status that tells of it before it is left behind.
type plan struct {
	n        int
	end      time.Time
	patience time.Duration
}

// share is the time at which one of so many things has to be over that are left to do.
func share(end time.Time, left int) time.Time {
	return time.Now().Add(time.Until(end) / time.Duration(left))
}

// edits makes the edits of a plan, each once the last is everywhere.
func (w *world) edits(t *testing.T, p *pollers, plan plan, next func(i int) edit) series {
	t.Helper()
	s := series{patience: plan.patience}
	w.board.mu.Lock()
	w.board.gaps = nil
	w.board.mu.Unlock()
	for i := 0; i < plan.n && (i == 0 || time.Now().Before(plan.end)); i++ {
		e := next(i)
		number := w.board.next()
		targets := p.targets[e.route]
		s.proxies = len(targets)
		body, err := json.Marshal(map[string]any{"spec": map[string]any{"rules": e.rules(number)}})
		if err != nil {
			t.Fatal(err)
		}
		sent := time.Now()
		if err := w.Patch(t.Context(), &gwapiv1.HTTPRoute{ObjectMeta: meta(w.ns, e.route)}, client.RawPatch(types.MergePatchType, body)); err != nil {
			t.Fatal(err)
		}
		w.board.await(t, arrival, fmt.Sprintf("edit %d of route %s is everywhere", number, e.route), func() string {
			return w.board.missing(number, targets)
		})
		told := w.board.until(t, sent.Add(plan.patience), func() string {
			if _, ok := w.board.programmed[number]; !ok {
				return "not yet"
			}
			return ""
		}) == ""
		w.board.mu.Lock()
		s.watched = append(s.watched, w.board.stored[number].Sub(sent))
		if told {
			s.programmed = append(s.programmed, w.board.programmed[number].Sub(sent))
		} else {
			s.programmed = append(s.programmed, plan.patience)
		}
		var all figures.Times
		for _, target := range targets {
			all = append(all, w.board.answered[number][target].Sub(sent))
		}
		w.board.mu.Unlock()
		s.first, s.last = append(s.first, all.Percentile(0)), append(s.last, all.Max())
		time.Sleep(time.Until(sent.Add(pace)))
	}
	w.board.mu.Lock()
	s.gaps, s.size = w.board.gaps, w.board.size
	w.board.mu.Unlock()
	for _, wrong := range w.board.takeWrong() {
		t.Errorf("during the edits: %s", wrong)
	}
	return s
}

// missing says what has not happened yet of an edit. The caller holds the lock.
func (b *board) missing(number int, targets []string) string {
	var missing []string
	if _, ok := b.stored[number]; !ok {
		missing = append(missing, "the watch has not told of it")
	}
	for _, target := range targets {
		if _, ok := b.answered[number][target]; !ok {
			missing = append(missing, fmt.Sprintf("%s answers by edit %d", target, b.last[target]))
		}
	}
	return strings.Join(missing, ", ")
}

// newRoute is a route as of the next edit.
func (w *world) newRoute(name string, hosts []gwapiv1.Hostname, prefix string, parents ...gwapiv1.ParentReference) *gwapiv1.HTTPRoute {
	r := &gwapiv1.HTTPRoute{ObjectMeta: meta(w.ns, name)}
	r.Spec.ParentRefs, r.Spec.Hostnames = parents, hosts
	r.Spec.Rules = rules(prefix, "server", w.board.next())
	return r
}

// create makes the routes from one number up to another, some at a time as kubectl or a pipeline would,
// and waits until the status of all that there are says that they are programmed.
func (w *world) create(t *testing.T, from, to int, route func(i int) *gwapiv1.HTTPRoute) {
	t.Helper()
	numbers, failed := make(chan int), make(chan error, to-from)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for i := range numbers {
				if err := w.Create(t.Context(), route(i)); err != nil {
					failed <- err
				}
			}
		})
	}
	for i := from; i < to; i++ {
		numbers <- i
	}
	close(numbers)
	workers.Wait()
	close(failed)
	for err := range failed {
		t.Fatalf("create routes: %v", err)
	}
	w.allProgrammed(t, to)
}

// editResult is what edits of one route took, with one number of clients.
type editResult struct {
	clients int
	// answers are edits of what a proxy answers by itself. moves are edits of that and of the Service
	// behind the route, whose cluster the Gateway's proxies have to be told of before.
	answers, moves series
}

// benchEdits edits one route, before the eyes of more and more clients.
func benchEdits(t *testing.T, w *world, sizes []int, n int, end time.Time) []editResult {
	t.Helper()
	const patience = 2 * time.Second
	w.create(t, 0, 1, func(int) *gwapiv1.HTTPRoute {
		return w.newRoute(edited, nil, "", onGateway(), onService("server"))
	})
	url := func(string) string { return "http://front.example" + asked }
	var out []editResult
	for i, size := range sizes {
		p := w.poll(t, size, []string{edited}, url)
		r := editResult{clients: size}
		left := 2 * (len(sizes) - i)
		r.answers = w.edits(t, p, plan{n, share(end, left), patience}, func(int) edit {
			return edit{edited, func(number int) []gwapiv1.HTTPRouteRule { return rules("", "server", number) }}
		})
		r.moves = w.edits(t, p, plan{n, share(end, left-1), patience}, func(i int) edit {
			return edit{edited, func(number int) []gwapiv1.HTTPRouteRule {
				return rules("", []string{"other", "server"}[i%2], number)
			}}
		})
		w.end(t, p)
		out = append(out, r)
	}
	w.removeRoutes(t)
	return out
}

// removeRoutes takes all routes away, and waits until the watch has told of it.
func (w *world) removeRoutes(t *testing.T) {
	t.Helper()
	if err := w.DeleteAllOf(t.Context(), &gwapiv1.HTTPRoute{}, client.InNamespace(w.ns)); err != nil {
		t.Fatal(err)
	}
	w.allProgrammed(t, 0)
}
