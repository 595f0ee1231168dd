// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package incr

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A random graph of layers, each a collection of string keys and int values.
// The same description is run twice: by the engine, and by a naive model that
// computes everything anew after each batch and writes down what it read.

const (
	keySpace = 9
	buckets  = 4
)

type layer struct {
	id       int
	src      int   // Derive: the source layer; -1 for an input
	sources  []int // DeriveKeys: layers whose index gives the keys; the last one gives its own keys if whole
	whole    bool
	panics   bool // its function, or its index, panics on some values
	collides bool // its outputs depend on values, so keys may emit the same one
}

type spec struct{ layers []layer }

func randomSpec(rng *rand.Rand) spec {
	var s spec
	for i := range 2 + rng.Intn(2) {
		s.layers = append(s.layers, layer{id: i, src: -1, panics: rng.Intn(4) == 0})
	}
	for range 3 + rng.Intn(6) {
		id := len(s.layers)
		l := layer{id: id, src: rng.Intn(id), panics: rng.Intn(3) == 0, collides: rng.Intn(3) == 0}
		if rng.Intn(3) == 0 {
			for range 1 + rng.Intn(3) {
				l.sources = append(l.sources, rng.Intn(id))
			}
			l.whole = rng.Intn(2) == 0
		}
		s.layers = append(s.layers, l)
	}
	return s
}

// view is how the function of a layer reads, in both worlds.
type view interface {
	get(layer int, k string) (int, bool)
	lookup(layer int, bucket string, f func(string, int))
}

func mix(parts ...any) int {
	h := fnv.New32a()
	fmt.Fprint(h, parts...)
	return int(h.Sum32() >> 1)
}

// compute is the function of a derived layer: what it reads depends on what it has read.
func (l layer) compute(v view, k string, val int, emit func(string, int)) {
	acc := mix(l.id, k, val)
	for range 1 + acc%3 {
		from := acc % l.id
		if acc%2 == 0 {
			x, ok := v.get(from, "k"+strconv.Itoa(acc/7%keySpace))
			acc = mix(l.id, acc, x, ok)
		} else {
			sum := 0
			v.lookup(from, "k"+strconv.Itoa(acc/7%buckets), func(k string, x int) { sum = mix(sum, k, x) })
			acc = mix(l.id, acc, sum)
		}
	}
	if l.panics && acc%9 == 0 {
		panic("poisoned")
	}
	switch {
	case acc%7 == 0: // nothing
	case l.collides:
		emit("k"+strconv.Itoa(acc/3%keySpace), acc%5)
	default:
		emit(k, acc%5)
		if acc%3 == 0 {
			emit(k+"+", acc%4)
		}
	}
}

func (l layer) bucketsOf(k string, v int) []string {
	if l.panics && v == 4 {
		panic("unindexable")
	}
	if v == 3 {
		return nil
	}
	return []string{"k" + strconv.Itoa(v%buckets), "k" + strconv.Itoa(mix(k, v)%buckets)} // may be twice the same
}

// real is the graph in the engine.
type real struct {
	spec spec
	eng  *Engine
	cols []*Collection[string, int]
	idx  []*Index[string, string, int]
	ran  map[string]int
}

type realView struct {
	w *real
	r *Reader
}

func (v realView) get(l int, k string) (int, bool) { return Get(v.r, v.w.cols[l], k) }
func (v realView) lookup(l int, b string, f func(string, int)) {
	Lookup(v.r, v.w.idx[l], b, f)
}

func equalInts(a, b int) bool { return a == b }

func newReal(s spec) *real {
	w := &real{spec: s, eng: &Engine{}, ran: map[string]int{}}
	for _, l := range s.layers {
		var c *Collection[string, int]
		name := "layer" + strconv.Itoa(l.id)
		fn := func(r *Reader, k string, v int, emit func(string, int)) {
			w.ran[name+"/"+k]++
			l.compute(realView{w, r}, k, v, emit)
		}
		switch {
		case l.src < 0:
			c = NewInput[string](w.eng, name, equalInts)
		case l.sources != nil:
			var keyed []Keyed[string]
			for i, s := range l.sources {
				if l.whole && i == len(l.sources)-1 {
					keyed = append(keyed, w.cols[s])
				} else {
					keyed = append(keyed, w.idx[s])
				}
			}
			c = DeriveKeys(w.eng, name, equalInts, func(r *Reader, k string, emit func(string, int)) { fn(r, k, 0, emit) }, keyed...)
		default:
			c = Derive(w.eng, name, w.cols[l.src], equalInts, fn)
		}
		w.cols = append(w.cols, c)
		w.idx = append(w.idx, NewIndex(c, strings.Compare, l.bucketsOf))
	}
	return w
}

// model is the naive one. Only what a failed function keeps needs a memory.
type model struct {
	spec   spec
	cols   []map[string]int
	traces map[string]string
	good   map[string][]output
	failed map[string]bool
}

type output struct {
	k string
	v int
}

type modelView struct {
	m     *model
	trace *strings.Builder
}

func (v modelView) get(l int, k string) (int, bool) {
	x, ok := v.m.cols[l][k]
	fmt.Fprintf(v.trace, " %d[%s]=%d,%t", l, k, x, ok)
	return x, ok
}

func (v modelView) lookup(l int, b string, f func(string, int)) {
	fmt.Fprintf(v.trace, " %d{%s}=", l, b)
	for _, k := range v.m.bucket(l, b) {
		fmt.Fprintf(v.trace, "%s:%d;", k, v.m.cols[l][k])
		f(k, v.m.cols[l][k])
	}
}

func (m *model) bucket(l int, b string) []string {
	var ks []string
	for _, k := range slices.Sorted(maps.Keys(m.cols[l])) {
		if bs, ok := m.bucketsOf(l, k); ok && slices.Contains(bs, b) {
			ks = append(ks, k)
		}
	}
	return ks
}

func (m *model) bucketsOf(l int, k string) (bs []string, ok bool) {
	defer func() { recover() }()
	return m.spec.layers[l].bucketsOf(k, m.cols[l][k]), true
}

// rebuild computes everything from the inputs and returns which functions had to run.
func (m *model) rebuild(inputs []map[string]int) map[string]int {
	ran, traces, good := map[string]int{}, map[string]string{}, map[string][]output{}
	m.cols, m.failed = nil, map[string]bool{}
	for _, l := range m.spec.layers {
		name := "layer" + strconv.Itoa(l.id)
		col := map[string]int{}
		if l.src < 0 {
			maps.Copy(col, inputs[l.id])
			m.cols = append(m.cols, col)
		} else {
			emitted := map[string][]string{}
			for _, k := range m.keys(l) {
				id := name + "/" + k
				outs, trace, ok := m.evaluate(l, k)
				if old, known := m.traces[id]; !known || old != trace {
					ran[id] = 1
				}
				if !ok {
					outs = m.good[id]
					m.failed[name+" panicked "+k] = true
				}
				traces[id], good[id] = trace, outs
				for _, o := range outs { // keys are visited in order: the first one has it
					if emitted[o.k] = append(emitted[o.k], k); len(emitted[o.k]) == 1 {
						col[o.k] = o.v
					} else {
						m.failed[name+" collided "+o.k] = true
					}
				}
			}
			m.cols = append(m.cols, col)
		}
		for k := range col {
			if _, ok := m.bucketsOf(l.id, k); !ok {
				m.failed[name+" unindexed "+k] = true
			}
		}
	}
	m.traces, m.good = traces, good
	return ran
}

func (m *model) keys(l layer) []string {
	if l.sources == nil {
		return slices.Sorted(maps.Keys(m.cols[l.src]))
	}
	set := map[string]bool{}
	for i, s := range l.sources {
		for k := range m.cols[s] {
			if l.whole && i == len(l.sources)-1 {
				set[k] = true
			} else if bs, ok := m.bucketsOf(s, k); ok {
				for _, b := range bs {
					set[b] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func (m *model) evaluate(l layer, k string) (outs []output, trace string, ok bool) {
	var b strings.Builder
	defer func() {
		trace = b.String()
		if !ok {
			recover()
			outs = nil
		}
	}()
	v := 0
	if l.sources == nil {
		v = m.cols[l.src][k]
	}
	fmt.Fprint(&b, v)
	l.compute(modelView{m, &b}, k, v, func(k string, v int) { outs = append(outs, output{k, v}) })
	return outs, "", true
}

// seeds are fixed; TULLE_SEED runs another one.
func seeds(t *testing.T, n int) []int64 {
	if s := os.Getenv("TULLE_SEED"); s != "" {
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []int64{v}
	}
	l := make([]int64, n)
	for i := range l {
		l[i] = int64(i)
	}
	return l
}

// After any batch the engine holds what a rebuild holds, ran exactly the
// functions that had to run, and published exactly the difference.
func TestIncrementalEqualsRebuild(t *testing.T) {
	var evals, panicked, collided, unindexed int
	for _, seed := range seeds(t, 400) {
		rng := rand.New(rand.NewSource(seed))
		s := randomSpec(rng)
		w := newReal(s)
		m := &model{spec: s}
		var inputs []map[string]int
		for _, l := range s.layers {
			if l.src < 0 {
				inputs = append(inputs, map[string]int{})
			}
		}
		m.rebuild(inputs)
		for batch := range 25 {
			mutate(rng, w, inputs)
			before := m.cols
			want := m.rebuild(inputs)
			clear(w.ran)
			w.eng.Commit(func() {
				for i, c := range w.cols {
					if diff := cmp.Diff(wantChanges(before[i], m.cols[i]), changesOf(c)); diff != "" {
						t.Fatalf("seed %d batch %d layer %d: changes (-want +got):\n%s", seed, batch, i, diff)
					}
				}
			})
			for i, c := range w.cols {
				if diff := cmp.Diff(m.cols[i], maps.Collect(c.All())); diff != "" {
					t.Fatalf("seed %d batch %d layer %d: entries (-rebuild +incremental):\n%s", seed, batch, i, diff)
				}
			}
			if diff := cmp.Diff(want, w.ran); diff != "" {
				t.Fatalf("seed %d batch %d: functions run (-necessary +run):\n%s", seed, batch, diff)
			}
			if len(want) != w.eng.TotalEvals() {
				t.Fatalf("seed %d batch %d: TotalEvals = %d, want %d", seed, batch, w.eng.TotalEvals(), len(want))
			}
			got := map[string]bool{}
			for id := range w.eng.failures {
				got[fmt.Sprintf("%s %s %v", id.collection, [...]string{"panicked", "collided", "unindexed", "uncompared"}[id.kind], id.key)] = true
			}
			if diff := cmp.Diff(m.failed, got); diff != "" {
				t.Fatalf("seed %d batch %d: failures (-want +got):\n%s", seed, batch, diff)
			}
			evals += len(want)
			for f := range got {
				switch strings.Fields(f)[1] {
				case "panicked":
					panicked++
				case "collided":
					collided++
				default:
					unindexed++
				}
			}
		}
	}
	t.Logf("%d evaluations compared; failures seen: %d panics, %d collisions, %d unindexable", evals, panicked, collided, unindexed)
	if os.Getenv("TULLE_SEED") == "" && (panicked == 0 || collided == 0 || unindexed == 0) {
		t.Fatal("the random graphs do not reach every kind of failure")
	}
}

// mutate writes a batch, with entries written several times and put back to what they were.
func mutate(rng *rand.Rand, w *real, inputs []map[string]int) {
	for range 1 + rng.Intn(6) {
		i := rng.Intn(len(inputs))
		k := "k" + strconv.Itoa(rng.Intn(keySpace))
		old, had := inputs[i][k]
		switch rng.Intn(5) {
		case 0:
			w.cols[i].Delete(k)
			delete(inputs[i], k)
		case 1: // there and back
			w.cols[i].Set(k, rng.Intn(6))
			if had {
				w.cols[i].Set(k, old)
			} else {
				w.cols[i].Delete(k)
			}
		default:
			v := rng.Intn(6)
			w.cols[i].Set(k, v)
			inputs[i][k] = v
		}
	}
}

func wantChanges(before, after map[string]int) map[string]Change[string, int] {
	want := map[string]Change[string, int]{}
	for k, v := range after {
		if old, had := before[k]; !had || old != v {
			want[k] = Change[string, int]{Key: k, Old: old, New: v, HadOld: had}
		}
	}
	for k, v := range before {
		if _, has := after[k]; !has {
			want[k] = Change[string, int]{Key: k, Old: v, HadOld: true, Deleted: true}
		}
	}
	return want
}

func changesOf(c *Collection[string, int]) map[string]Change[string, int] {
	got := map[string]Change[string, int]{}
	for _, ch := range c.Changes() {
		if _, twice := got[ch.Key]; twice {
			panic("a key changed twice in one Commit: " + ch.Key)
		}
		got[ch.Key] = ch
	}
	return got
}
