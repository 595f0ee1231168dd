// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package routes

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/test/figures"
)

// report is everything that was measured, and on what.
type report struct {
	machine  machine
	gateways []gatewayResult
	edits    []editResult
	many     []manyResult
}

// machine is what it was measured on.
type machine struct {
	cores, replicas   int
	memory            float64 // bytes
	busy              float64 // share of the CPU time in use before anything began
	kubernetes, tulle string
}

func (w *world) machine(t *testing.T) machine {
	t.Helper()
	version, err := w.Kube.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(info)) // MemTotal: N kB
	kilobytes, err := strconv.ParseFloat(fields[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return machine{
		cores: runtime.NumCPU(), memory: kilobytes * 1024, kubernetes: version.GitVersion,
		tulle: w.mesh.Status.Version, replicas: int(w.mesh.Status.ControlPlane.Replicas),
	}
}

// busyShare looks for some seconds how much of the machine's CPU time is in use.
func busyShare(t *testing.T) float64 {
	t.Helper()
	read := func() (used, all float64) {
		stat, err := os.ReadFile("/proc/stat")
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(stat), "\n")
		for i, field := range strings.Fields(line)[1:9] { // user nice system idle iowait irq softirq steal
			v, err := strconv.ParseFloat(field, 64)
			if err != nil {
				t.Fatal(err)
			}
			all += v
			if i != 3 && i != 4 {
				used += v
			}
		}
		return used, all
	}
	usedBefore, allBefore := read()
	time.Sleep(3 * time.Second)
	used, all := read()
	return (used - usedBefore) / (all - allBefore)
}

// promise is one that the benchmark fails for.
type promise struct {
	what            string
	limit, measured time.Duration
}

func (p promise) holds() bool { return p.measured <= p.limit }

func (r report) promises() []promise {
	var out []promise
	for _, g := range r.gateways {
		out = append(out, promise{
			fmt.Sprintf("Gateways %d to %d are Programmed at most 2 s after their first pod is Ready: the longest", g.from, g.to),
			2 * time.Second, g.afterReady.Max(),
		})
	}
	for _, e := range r.edits {
		for _, k := range e.kinds() {
			out = append(out, promise{
				fmt.Sprintf("%s is effective at all %d proxies in 300 ms: p99", k.name, k.proxies),
				300 * time.Millisecond, k.last.Percentile(0.99),
			})
		}
	}
	return out
}

// kind is a series with its name.
type kind struct {
	name string
	series
}

func (e editResult) kinds() []kind {
	return []kind{{"An edit of an answer", e.answers}, {"An edit of an answer and a backend", e.moves}}
}

const head = `# Benchmark: changes of Gateways and routes

Written by ` + "`make bench-routes`" + `, which also fails if one of the promises does not hold; don't edit. The program is [test/routes](../../test/routes).

Measured on one machine with %d cores and %s GiB of memory, which is the cluster's only node and runs everything: Kubernetes %s with its API server and etcd, Tulle %s with %d replicas of its control plane, Gateways of %d proxies, all clients, and the benchmark. Before it began %.0f %% of the CPU time was in use. The absolute figures are that machine's; compare each with the baseline next to it, which was measured at the same time, and the larger size with the smaller one. A percentile is a time that was measured: p99 of fewer than a hundred is the longest.

`

// String is the report in Markdown.
func (r report) String() string {
	var b strings.Builder
	m := r.machine
	fmt.Fprintf(&b, head, m.cores, figures.Number(m.memory/(1<<30)), m.kubernetes, m.tulle, m.replicas, gatewayReplicas, 100*m.busy)
	promises := figures.Table{Head: []string{"promise", "limit ms", "measured ms", "holds"}}
	for _, p := range r.promises() {
		promises.Add(p.what, figures.Millis(p.limit), figures.Millis(p.measured), map[bool]string{true: "yes", false: "NO"}[p.holds()])
	}
	fmt.Fprintf(&b, "%s\n", promises)
	r.writeGateways(&b)
	r.writeEdits(&b)
	r.writeMany(&b)
	return b.String()
}

const gatewaysText = `## 1. A new Gateway

Gateways with one HTTP listener are created one after another, each when all pods of the last are Ready; %d of them stay, then the oldest goes before the next one comes. A watch of the API server tells when their first pod runs, when it is Ready, and when the Gateway is Programmed, which is 0 ms later where it came before. The baseline is a plain Deployment of as many pods without a proxy, one for every three Gateways: from its creation until the first pod is Ready.

`

func (r report) writeGateways(b *strings.Builder) {
	fmt.Fprintf(b, gatewaysText, standing)
	for _, g := range r.gateways {
		t := figures.Table{Head: []string{fmt.Sprintf("Gateways %d to %d", g.from, g.to), "n", "p50 ms", "p99 ms", "max ms", "p50 to baseline"}}
		base := g.plain
		addTimes(&t, "baseline: created until a plain pod is Ready", base, nil, 0)
		addTimes(&t, "created until a pod is Ready", g.ready, base, 0)
		addTimes(&t, "created until Programmed", g.programmed, base, 0)
		addTimes(&t, "a pod runs until Programmed", g.afterRunning, base, 0)
		addTimes(&t, "a pod is Ready until Programmed", g.afterReady, base, 0)
		fmt.Fprintf(b, "%s\n", t)
	}
}

const editsText = `## 2. An edit of a route

An HTTPRoute has a Gateway and a Service of the mesh as parents. Each edit writes its number into the route as the path of a redirection, which a proxy answers by itself. A program in each client pod asks through its own proxy, and one outside of the mesh asks each of the Gateway's proxies; all together they ask %d times a second, and note when the answer changes. The edit was effective there at that moment, or up to as much earlier as has passed since the answer before (last row of each table). The next edit is made when all proxies answer by this one and the status tells of it, for which it is waited 2 s at most; but %s ms later at the earliest. The first is made when the pods have started and less than %.0f %% of the CPU time is in use.

All times are from before the edit is sent to the API server. The baseline is when a plain client-go watch has it, before which no control plane can do anything. The status is condition tulle.dev/Programmed for the generation of the edit, on both parents, as the same watch has it. An edit of the backend sends the rest of the route's requests to another Service, which the Gateway's proxies have to be told of before.

`

func (r report) writeEdits(b *strings.Builder) {
	fmt.Fprintf(b, editsText, int(time.Second/together), figures.Millis(pace), 100*atRest)
	for _, e := range r.edits {
		for _, k := range e.kinds() {
			t := figures.Table{Head: []string{fmt.Sprintf("%s; %d clients and %d proxies of the Gateway", k.name, e.clients, k.proxies-e.clients), "n", "p50 ms", "p99 ms", "max ms", "p50 to baseline"}}
			addTimes(&t, "baseline: a plain watch has it", k.watched, nil, 0)
			addTimes(&t, "the first proxy answers by it", k.first, k.watched, 0)
			addTimes(&t, fmt.Sprintf("all %d proxies answer by it", k.proxies), k.last, k.watched, 0)
			addTimes(&t, "the status tells of it", k.programmed, k.watched, k.patience)
			addTimes(&t, "between the last answer and the changed one", k.gaps, nil, 0)
			fmt.Fprintf(b, "%s\n", t)
		}
	}
	if n := len(r.edits); n > 1 {
		few, many := r.edits[0], r.edits[n-1]
		fmt.Fprintf(b, "With %s the clients the p50 of an edit of an answer is %s at all proxies, and %s at the watch.\n\n",
			figures.Ratio(float64(many.clients), float64(few.clients)), ratioOf(many.answers.last, few.answers.last), ratioOf(many.answers.watched, few.answers.watched))
	}
}

// addTimes adds a row. Times of patience or more were not waited for; 0: all were.
func addTimes(t *figures.Table, name string, times, base figures.Times, patience time.Duration) {
	millis := func(d time.Duration) string {
		if patience > 0 && d >= patience {
			return ">" + figures.Millis(patience)
		}
		return figures.Millis(d)
	}
	compared := ""
	if base != nil {
		compared = ratioOf(times, base)
	}
	t.Add(name, strconv.Itoa(len(times)), millis(times.Percentile(0.5)), millis(times.Percentile(0.99)), millis(times.Max()), compared)
}

// ratioOf compares medians.
func ratioOf(times, base figures.Times) string {
	return figures.Ratio(float64(times.Percentile(0.5)), float64(base.Percentile(0.5)))
}
