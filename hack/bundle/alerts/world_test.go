// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package alerts

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// scrapeEvery is how often the simulated Prometheus scrapes.
const scrapeEvery = 30 * time.Second

// course is what a series does: its value at a time, counted from when a fault begins; absent: there
// is no such series then.
type course func(at time.Duration) float64

// absent is the value of a series that is not there.
func absent() float64 { return math.Float64frombits(value.StaleNaN) }

type series struct {
	labels labels.Labels
	course course
}

// world is what a Prometheus has of a mesh: for each target the series that a real one of its kind
// exposed (testdata), with the labels that a PodMonitor adds. It begins healthy.
type world struct {
	began  time.Time // when the fault begins
	series []*series
}

// target is a pod that is scraped.
type target struct{ kind, namespace, pod, container string }

// targets of a mesh of one operator, two replicas of its control plane and 20 proxies. The mesh is not in
// the namespace that config/ names: no alert may ask for that.
func targets() []target {
	all := []target{
		{"operator", "mesh-system", "tulle-operator-1", "operator"},
		{"controlplane", "mesh-system", "tulle-controlplane-1", "controlplane"},
		{"controlplane", "mesh-system", "tulle-controlplane-2", "controlplane"},
	}
	for i := range 20 {
		all = append(all, target{"proxy", "shop", fmt.Sprintf("cart-%d", i), "tulle-proxy-a"})
	}
	return all
}

// healthy is a mesh in which nothing is wrong, and some things happen.
func healthy(t *testing.T) *world {
	t.Helper()
	w := &world{began: time.Unix(1_800_000_000, 0)}
	for _, tg := range targets() {
		for _, l := range recorded(t, tg.kind) {
			b := labels.NewBuilder(l.labels)
			for _, add := range [][2]string{{"namespace", tg.namespace}, {"pod", tg.pod}, {"container", tg.container}, {"job", "mesh-system/tulle-" + tg.kind}, {"instance", tg.pod}} {
				// As Prometheus does with honorLabels: false.
				if own := l.labels.Get(add[0]); own != "" {
					b.Set("exported_"+add[0], own)
				}
				b.Set(add[0], add[1])
			}
			v := l.value
			w.series = append(w.series, &series{b.Labels(), func(time.Duration) float64 { return v }})
		}
	}
	unix := func(at time.Duration) float64 { return float64(w.began.Add(at).Unix()) }
	w.set(t, `tulle_agent_certificate_expiry_seconds`, func(at time.Duration) float64 {
		const day, renewed = 24 * time.Hour, 16 * time.Hour
		return unix(at) + (day - (at+1000*renewed)%renewed).Seconds()
	})
	w.set(t, `tulle_ca_intermediate_expiry_seconds`, func(at time.Duration) float64 { return unix(at) + 20*86400 })
	w.set(t, `tulle_root_certificate_expiry_seconds`, func(at time.Duration) float64 { return unix(at) + 400*86400 })
	// Whatever the recorded mesh was doing.
	w.set(t, `tulle_upgrade_phase`, constant(0))
	w.set(t, `tulle_upgrade_phase{phase="Completed"}`, constant(1))
	w.set(t, `tulle_injection_reviews_total{result="injected"}`, rising(1.0/60))
	w.set(t, `tulle_ca_reloads_total{result="ok"}`, rising(1.0/60))
	w.set(t, `tulle_xds_ack_seconds_bucket`, rising(0)) // those below the quickest
	w.set(t, `tulle_xds_ack_seconds_bucket{le=~"0[.](0[2-9]|[1-9]).*|[1-9].*|[+]Inf"}`, rising(2))
	return w
}

// rising is a counter that counts so much in a second, and has done so since before all time.
func rising(perSecond float64) course {
	return func(at time.Duration) float64 { return 1000 + (at+48*time.Hour).Seconds()*perSecond }
}

// from is a course that leaves the other one when the fault begins.
func from(before, after course) course {
	return func(at time.Duration) float64 {
		if at < 0 {
			return before(at)
		}
		return after(at)
	}
}

func constant(v float64) course { return func(time.Duration) float64 { return v } }

// find finds series as PromQL does. There must be some: a fault that nothing shows is no test.
func (w *world) find(t *testing.T, selector string) []*series {
	t.Helper()
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	var out []*series
	for _, s := range w.series {
		if matches(s.labels, matchers) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		t.Fatalf("nobody exposes %s", selector)
	}
	return out
}

// set gives series a course of their own, healthy or not.
func (w *world) set(t *testing.T, selector string, c course) {
	t.Helper()
	for _, s := range w.find(t, selector) {
		s.course = c
	}
}

// fault has series take another course from now on.
func (w *world) fault(t *testing.T, selector string, c course) {
	t.Helper()
	for _, s := range w.find(t, selector) {
		s.course = from(s.course, c)
	}
}

func matches(l labels.Labels, matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return true
}

// line is a line of a scrape.
type line struct {
	labels labels.Labels
	value  float64
}

// recorded reads what a component exposed. test/e2e TestSeries wrote the file, and holds it against
// the components of today.
func recorded(t *testing.T, kind string) []line {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", kind+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var out []line
	for in := bufio.NewScanner(file); in.Scan(); {
		text := in.Text()
		if text == "" || text[0] == '#' {
			continue
		}
		end := strings.LastIndexByte(text, ' ')
		l, err := parser.NewParser(parser.Options{}).ParseMetric(text[:end])
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		v, err := strconv.ParseFloat(text[end+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		out = append(out, line{l, v})
	}
	if len(out) == 0 {
		t.Fatalf("nothing is recorded of %s", kind)
	}
	return out
}

// Querier makes the world a storage.Queryable.
func (w *world) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{w: w, mint: mint, maxt: maxt}, nil
}

// querier answers what the engine asks for; it asks for no label names or values.
type querier struct {
	storage.MockQuerier
	w          *world
	mint, maxt int64
}

func (q *querier) Select(_ context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	mint, maxt := q.mint, q.maxt
	if hints != nil {
		mint, maxt = hints.Start, hints.End
	}
	set := &list{at: -1}
	step := scrapeEvery.Milliseconds()
	for _, s := range q.w.series {
		if !matches(s.labels, matchers) {
			continue
		}
		var samples []chunks.Sample
		for ts := (mint + step - 1) / step * step; ts <= maxt; ts += step {
			samples = append(samples, sample{ts, s.course(time.UnixMilli(ts).Sub(q.w.began))})
		}
		set.all = append(set.all, storage.NewListSeries(s.labels, samples))
	}
	return set
}

// list is a storage.SeriesSet.
type list struct {
	all []storage.Series
	at  int
}

func (l *list) Next() bool                        { l.at++; return l.at < len(l.all) }
func (l *list) At() storage.Series                { return l.all[l.at] }
func (l *list) Err() error                        { return nil }
func (l *list) Warnings() annotations.Annotations { return nil }

// sample is a chunks.Sample of a plain number.
type sample struct {
	at int64
	v  float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.v }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }
