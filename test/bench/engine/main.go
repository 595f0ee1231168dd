// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command engine measures what one endpoint change and one route change cost
// in meshes of 1,000 and 20,000 services: evaluations, time and allocations;
// once on the control plane's own graph, from the objects of the cluster to
// marshalled resources, and once on a graph that does next to nothing, which
// shows the engine alone. Evaluations must be equal at both sizes and time
// within a factor of two, or it fails: the cost of a change is what it touches.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// graph is what is measured.
type graph interface {
	// load makes a mesh of n services with ten endpoint slices and a route each.
	load(n int)
	// changeEndpoint and changeRoute change one object each time they are called, and commit.
	changeEndpoint()
	changeRoute()
	// evals is how many functions the last commit ran.
	evals() int
	// published is how many entries the last commit published.
	published() int
}

// result of one kind of change at one size. Time is the median: the machine
// may be busy with other things.
type result struct {
	evals, published int
	median, p99      time.Duration
	allocs, bytes    float64
}

func main() {
	rounds := flag.Int("rounds", 4000, "changes of each kind to measure, per size")
	flag.Parse()
	failures := slices.Concat(compare("pipeline", newMesh, *rounds), compare("engine alone", newSynthetic, *rounds))
	for _, f := range failures {
		fmt.Println("FAIL:", f)
	}
	if len(failures) > 0 {
		os.Exit(1)
	}
}

// compare measures one graph at both sizes and returns the targets it misses.
func compare(name string, build func() graph, rounds int) (failures []string) {
	sizes := []int{1000, 20000}
	graphs := make([]graph, len(sizes))
	for i, n := range sizes {
		graphs[i] = build()
		start := time.Now()
		graphs[i].load(n)
		fmt.Printf("%s: loaded %d services in %v\n", name, n, time.Since(start).Round(time.Millisecond))
	}
	runtime.GC()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "change\tservices\tevaluations\tpublished\tp50\tp99\tallocs\tbytes\t")
	for _, k := range []struct {
		name   string
		change func(graph)
	}{{"endpoint", graph.changeEndpoint}, {"route", graph.changeRoute}} {
		r := measure(graphs, k.change, rounds)
		for i, n := range sizes {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%v\t%v\t%.0f\t%.0f\t\n", k.name, n, r[i].evals, r[i].published, r[i].median, r[i].p99, r[i].allocs, r[i].bytes)
		}
		if r[0].evals != r[1].evals || r[0].published != r[1].published || r[0].evals == 0 {
			failures = append(failures, fmt.Sprintf("%s: the work of one %s change depends on the size of the mesh, or there is none", name, k.name))
		}
		if ratio := float64(r[1].median) / float64(r[0].median); ratio > 2 {
			failures = append(failures, fmt.Sprintf("%s: one %s change takes %.2f times as long in the large mesh, 2 allowed", name, k.name, ratio))
		}
	}
	_ = w.Flush()
	return failures
}

// measure takes turns between the sizes, so that what else the machine does
// falls on all of them alike.
func measure(graphs []graph, change func(graph), rounds int) []result {
	results := make([]result, len(graphs))
	times := make([][]time.Duration, len(graphs))
	const block = 100
	for round := -block; round < rounds; round += block { // the first block warms
		for i, g := range graphs {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range block {
				start := time.Now()
				change(g)
				if round >= 0 {
					times[i] = append(times[i], time.Since(start))
				}
			}
			runtime.ReadMemStats(&after)
			if round >= 0 {
				results[i].allocs += float64(after.Mallocs-before.Mallocs) / float64(rounds)
				results[i].bytes += float64(after.TotalAlloc-before.TotalAlloc) / float64(rounds)
			}
		}
	}
	for i, g := range graphs {
		slices.Sort(times[i])
		results[i].evals, results[i].published = g.evals(), g.published()
		results[i].median, results[i].p99 = times[i][len(times[i])/2], times[i][len(times[i])*99/100]
	}
	return results
}
