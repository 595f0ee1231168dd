// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package routes

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What is measured, and where to. The sizes go upwards; the report compares the last with the first.
var (
	gateways = sizes("gateways", "10,30", "numbers of Gateways")
	pods     = sizes("pods", "5,20", "numbers of client pods in the mesh")
	manys    = sizes("routes", "50,500", "numbers of routes on one Gateway")
	edits    = flag.Int("edits", 100, "edits of a route for each number of pods; half as many for each number of routes")
	to       = flag.String("report", "", "file to write the report to")
)

// list is a flag of numbers with commas between them.
type list []int

func sizes(name, value, usage string) *list {
	l := &list{}
	if err := l.Set(value); err != nil {
		panic(err) // a default is right
	}
	flag.Var(l, name, usage)
	return l
}

func (l *list) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint([]int(*l)), " ", ","), "[]")
}

func (l *list) Set(s string) error {
	*l = nil
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n <= 0 {
			return fmt.Errorf("%q is not a number above 0", part)
		}
		*l = append(*l, n)
	}
	return nil
}

// TestRoutes is the benchmark.
func TestRoutes(t *testing.T) {
	var r report
	// After everything that newWorld makes has gone: a test that has failed before shows all that its
	// pods have logged, which tells nothing about a promise.
	t.Cleanup(func() {
		for _, p := range r.promises() {
			if !p.holds() {
				t.Errorf("a promise does not hold: %s: %v, not %v", p.what, p.measured, p.limit)
			}
		}
	})
	busy := busyShare(t)
	w := newWorld(t)
	r.machine = w.machine(t)
	r.machine.busy = busy
	begin := time.Now()
	// What is slow gets fewer turns, so that all of it ends in time.
	part := func(what string, limit time.Duration, run func(end time.Time)) {
		run(begin.Add(limit))
		t.Logf("%v: %s done", time.Since(begin).Round(time.Second), what)
	}
	part("edits of a route", 165*time.Second, func(end time.Time) { r.edits = benchEdits(t, w, *pods, *edits, end) })
	part("Gateways", 270*time.Second, func(end time.Time) { r.gateways = benchGateways(t, w, *gateways, end) })
	part("many routes", 450*time.Second, func(end time.Time) { r.many = benchMany(t, w, *manys, (*edits+1)/2, end) })

	text := r.String()
	t.Logf("\n%s", text)
	if *to == "" {
		return
	}
	if err := os.MkdirAll(filepath.Dir(*to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*to, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
