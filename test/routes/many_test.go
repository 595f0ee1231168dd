// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package routes

import (
	"fmt"
	"slices"
	"testing"
	"time"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// shape is how the routes of a Gateway differ from one another.
type shape struct {
	name   string
	host   func(i int) string
	prefix func(i int) string
}

// shapes are the two ends: Envoy looks a host up, but goes through the routes of one host one by one.
func shapes() []shape {
	return []shape{
		{"a host name each", func(i int) string { return fmt.Sprintf("r%d.example", i) }, func(int) string { return "" }},
		{"one host name, a path prefix each", func(int) string { return "all.example" }, func(i int) string { return fmt.Sprintf("/r%d", i) }},
	}
}

// manyResult is what edits took and cost with one shape and number of routes.
type manyResult struct {
	shape  string
	routes int
	edits  series
	cost   cost
	// after is what has been used with all of them and edited. fewer is the same of the number before, if
	// there is one.
	after usage
	fewer *manyResult
	// made is how long it took to create those that had been missing, until the status of all said that
	// they are programmed.
	made time.Duration
}

// toCreate is the time that is kept for each creation of routes that is still to come.
const toCreate = 20 * time.Second

// benchMany edits routes on a Gateway with more and more of them.
func benchMany(t *testing.T, w *world, sizes []int, n int, end time.Time) []manyResult {
	t.Helper()
	idle := w.idle(t, 10*time.Second)
	var out []manyResult
	left := len(shapes()) * len(sizes)
	for _, s := range shapes() {
		have, fewer := 0, (*manyResult)(nil)
		for _, size := range sizes {
			r := manyResult{shape: s.name, routes: size, fewer: fewer}
			begin := time.Now()
			w.create(t, have, size, func(i int) *gwapiv1.HTTPRoute {
				return w.newRoute(routeName(i), []gwapiv1.Hostname{gwapiv1.Hostname(s.host(i))}, s.prefix(i), onGateway())
			})
			have, r.made = size, time.Since(begin)
			before := w.usage(t)
			left--
			reserved := time.Duration(left) * toCreate
			r.edits = w.editSome(t, s, size, plan{n, share(end.Add(-reserved), left+1), time.Second})
			// What the edits have left to do belongs to them.
			w.allProgrammed(t, size)
			r.after = w.usage(t)
			var err error
			if r.cost, err = perEdit(before, r.after, idle, len(r.edits.last)); err != nil {
				t.Fatal(err)
			}
			out, fewer = append(out, r), &r
		}
		w.removeRoutes(t)
	}
	return out
}

func routeName(i int) string { return fmt.Sprintf("r%d", i) }

// editSome edits the first route, the last and the one in the middle in turn, so that a place which is
// cheap does not pass for all.
func (w *world) editSome(t *testing.T, s shape, size int, plan plan) series {
	t.Helper()
	places := slices.Compact([]int{0, size / 2, size - 1})
	urls := map[string]string{}
	var routes []string
	for _, i := range places {
		routes = append(routes, routeName(i))
		urls[routeName(i)] = "http://" + s.host(i) + s.prefix(i) + asked
	}
	p := w.poll(t, 0, routes, func(route string) string { return urls[route] })
	defer w.end(t, p)
	return w.edits(t, p, plan, func(i int) edit {
		place := places[i%len(places)]
		return edit{routeName(place), func(number int) []gwapiv1.HTTPRouteRule { return rules(s.prefix(place), "server", number) }}
	})
}
