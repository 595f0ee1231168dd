// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package routes

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"tulle.dev/tulle/test/figures"
)

const manyText = `## 3. Many routes on one Gateway

All routes have the Gateway as their only parent, and two rules each: one that a proxy answers by itself with the number of the edit, one with a backend. Either every route has a host name of its own, or all have the same and each a path prefix. The first route, the last and the one in the middle are edited in turn, as above, and asked for at each of the Gateway's proxies. An edit waits for the status of the last for at most a second. A row with x tells how many times the figures of the first number of routes those of the last are.

From the edit until all proxies answer by it, and until the status tells of it; the baseline is the watch:

`

const costText = `What an edit costs: CPU time of all replicas of the control plane together, and of the API server, which is the baseline, less what they take when nothing is edited; requests to the API server about HTTPRoutes, the edit itself among them; and what each of the Gateway's proxies is sent, of all xDS types together, with the length of the route, as JSON from the API server, as the baseline:

`

const memoryText = `What routes weigh, after the edits: a replica of the control plane (what it holds of the system, its heap in use with garbage and all, and what of that was alive when garbage was last collected), and what the Envoy of one proxy of the Gateway has allocated. What that is for one route is told for those by which the next number is more:

`

func (r report) writeMany(b *strings.Builder) {
	b.WriteString(manyText)
	t := figures.Table{Head: []string{"routes", "n", "watch p50 ms", "watch p99 ms", "proxies p50 ms", "proxies p99 ms", "p50 to baseline", "status p50 ms", "all created in s"}}
	r.shapes(&t, func(m manyResult) []cell {
		e := m.edits
		told := number(ms(e.programmed.Percentile(0.5)))
		if e.programmed.Percentile(0.5) >= e.patience {
			told = words(">" + figures.Millis(e.patience))
		}
		return []cell{
			words(strconv.Itoa(len(e.last))),
			number(ms(e.watched.Percentile(0.5))), number(ms(e.watched.Percentile(0.99))),
			number(ms(e.last.Percentile(0.5))), number(ms(e.last.Percentile(0.99))), words(ratioOf(e.last, e.watched)),
			told, number(m.made.Seconds()),
		}
	})
	fmt.Fprintf(b, "%s\n", t)

	b.WriteString(costText)
	t = figures.Table{Head: []string{"routes", "control plane CPU ms", "API server CPU ms", "to baseline", "requests", "sent bytes", "route bytes", "to baseline", "responses", "resources"}}
	r.shapes(&t, func(m manyResult) []cell {
		c, size := m.cost, float64(m.edits.size)
		return []cell{
			number(ms(c.cpu)), number(ms(c.apiCPU)), words(figures.Ratio(float64(c.cpu), float64(c.apiCPU))), number(c.requests),
			number(c.bytes), number(size), words(figures.Ratio(c.bytes, size)), number(c.responses), number(c.resources),
		}
	})
	fmt.Fprintf(b, "%s\n", t)

	b.WriteString(memoryText)
	t = figures.Table{Head: []string{"routes", "resident MiB", "heap MiB", "alive MiB", "KiB a route", "Envoy MiB", "KiB a route"}}
	r.shapes(&t, func(m manyResult) []cell {
		replicas := float64(m.after.replicas)
		return []cell{
			number(m.after.resident / replicas / mebi), number(m.after.heap / replicas / mebi),
			number(m.after.alive / replicas / mebi), m.aRoute(func(u usage) float64 { return u.alive / replicas }),
			number(m.after.envoy / mebi), m.aRoute(func(u usage) float64 { return u.envoy }),
		}
	})
	fmt.Fprint(b, t)
}

// aRoute is what each route weighs in KiB by which there are more than before.
func (m manyResult) aRoute(bytes func(usage) float64) cell {
	if m.fewer == nil {
		return words("-")
	}
	return number((bytes(m.after) - bytes(m.fewer.after)) / float64(m.routes-m.fewer.routes) / kibi)
}

const (
	kibi = 1 << 10
	mebi = 1 << 20
)

// cell is a figure, or words that stand for themselves.
type cell struct {
	figure float64
	words  string
}

func number(f float64) cell { return cell{figure: f} }
func words(s string) cell   { return cell{words: s} }

func (c cell) String() string {
	if c.words != "" {
		return c.words
	}
	return figures.Number(c.figure)
}

// shapes adds a row for each number of routes, and after the last of a shape one that tells how many
// times those of its first its figures are.
func (r report) shapes(t *figures.Table, row func(manyResult) []cell) {
	var first []cell
	for i, m := range r.many {
		cells := row(m)
		line := []string{fmt.Sprintf("%d, %s", m.routes, m.shape)}
		for _, c := range cells {
			line = append(line, c.String())
		}
		t.Add(line...)
		if i == 0 || r.many[i-1].shape != m.shape {
			first = cells
			continue
		}
		if i+1 < len(r.many) && r.many[i+1].shape == m.shape {
			continue
		}
		growth := []string{"x"}
		for j, c := range cells {
			times := ""
			if c.words == "" && first[j].words == "" && c.figure > 0 {
				times = figures.Ratio(c.figure, first[j].figure)
			}
			growth = append(growth, times)
		}
		t.Add(growth...)
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
