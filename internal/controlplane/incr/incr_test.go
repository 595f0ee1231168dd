// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package incr

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mesh is a toy of the real pipeline: services, endpoint slices (many per
// service), routes that name services, and gateways that group routes.
type mesh struct {
	eng       Engine
	services  *Collection[string, int]
	slices    *Collection[string, endpoints]
	routes    *Collection[string, route]
	endpoints *Collection[string, string] // one per service that has a Service or an EndpointSlice
	resolved  *Collection[string, string] // one per route
	gateways  *Collection[string, string] // one per gateway that has a route
}

type endpoints struct{ service, addresses string }

type route struct{ gateway, services string }

func same[T comparable](a, b T) bool { return a == b }

func newMesh() *mesh {
	m := &mesh{}
	m.services = NewInput[string](&m.eng, "services", same[int])
	m.slices = NewInput[string](&m.eng, "slices", same[endpoints])
	m.routes = NewInput[string](&m.eng, "routes", same[route])
	byService := NewIndex(m.slices, strings.Compare, func(_ string, s endpoints) []string { return []string{s.service} })
	m.endpoints = DeriveKeys(&m.eng, "endpoints", same[string], func(r *Reader, svc string, emit func(string, string)) {
		port, exists := Get(r, m.services, svc)
		var b strings.Builder
		Lookup(r, byService, svc, func(_ string, s endpoints) { b.WriteString(" " + s.addresses) })
		// Not with fmt: under the race detector its pool forgets at random, and allocations are counted here.
		emit(svc, strconv.Itoa(port)+" "+strconv.FormatBool(exists)+b.String())
	}, m.services, byService)
	m.resolved = Derive(&m.eng, "resolved", m.routes, same[string], func(r *Reader, k string, rt route, emit func(string, string)) {
		b := strings.Builder{}
		b.WriteString(rt.gateway)
		for svc := range strings.FieldsSeq(rt.services) {
			port, ok := Get(r, m.services, svc)
			fmt.Fprintf(&b, " %s:%d:%t", svc, port, ok)
		}
		emit(k, b.String())
	})
	byGateway := NewIndex(m.resolved, strings.Compare, func(_, v string) []string { return []string{strings.Fields(v)[0]} })
	m.gateways = DeriveKeys(&m.eng, "gateways", same[string], func(r *Reader, gw string, emit func(string, string)) {
		var l []string
		Lookup(r, byGateway, gw, func(k, v string) { l = append(l, k+"="+v) })
		emit(gw, strings.Join(l, "\n"))
	}, byGateway)
	return m
}

// load fills a mesh with n services of ten slices and a route each, ten routes to a gateway.
func load(n int) *mesh {
	m := newMesh()
	for i := range n {
		svc := fmt.Sprint("s", i)
		m.services.Set(svc, 80)
		for j := range 10 {
			m.slices.Set(fmt.Sprintf("e%d-%d", i, j), endpoints{svc, "10.0.0.1"})
		}
		m.routes.Set(fmt.Sprint("r", i), route{fmt.Sprint("g", i/10), svc})
	}
	m.eng.Commit(nil)
	return m
}

// The work of a change is what it touches, whatever the size of the mesh.
func TestEvaluationsDoNotDependOnSize(t *testing.T) {
	changes := []struct {
		name  string
		apply func(*mesh)
		want  map[string]int
	}{
		{"an endpoint changes", func(m *mesh) { m.slices.Set("e7-3", endpoints{"s7", "10.0.0.9"}) }, map[string]int{"endpoints": 1}},
		{"an endpoint moves", func(m *mesh) { m.slices.Set("e7-3", endpoints{"s8", "10.0.0.9"}) }, map[string]int{"endpoints": 2}},
		{"a route changes", func(m *mesh) { m.routes.Set("r7", route{"g0", "s7 s8"}) }, map[string]int{"resolved": 1, "gateways": 1}},
		{"a route moves", func(m *mesh) { m.routes.Set("r7", route{"g5", "s7"}) }, map[string]int{"resolved": 1, "gateways": 2}},
		{"a service changes", func(m *mesh) { m.services.Set("s7", 81) }, map[string]int{"endpoints": 1, "resolved": 1, "gateways": 1}},
		{"a service goes", func(m *mesh) { m.services.Delete("s9") }, map[string]int{"endpoints": 1, "resolved": 1, "gateways": 1}},
		{"a service nobody routes to comes", func(m *mesh) { m.services.Set("new", 1) }, map[string]int{"endpoints": 1}},
		{"nothing changes", func(m *mesh) { m.slices.Set("e5-5", endpoints{"s5", "10.0.0.1"}) }, map[string]int{}},
		{"a change is taken back", func(m *mesh) { m.services.Set("s5", 1); m.services.Set("s5", 80) }, map[string]int{}},
	}
	for _, n := range []int{1000, 20000} {
		m := load(n)
		for _, c := range changes {
			c.apply(m)
			m.eng.Commit(nil)
			if diff := cmp.Diff(c.want, m.eng.Evals()); diff != "" {
				t.Errorf("%d services, %s: evaluations (-want +got):\n%s", n, c.name, diff)
			}
		}
	}
}

func TestOneChangeAllocatesTheSameAtEverySize(t *testing.T) {
	allocs := func(n int) float64 {
		m := load(n)
		i := 0
		return testing.AllocsPerRun(50, func() {
			i++
			m.slices.Set("e7-3", endpoints{"s7", strings.Repeat("x", i%2+1)})
			m.eng.Commit(nil)
		})
	}
	small, large := allocs(1000), allocs(20000)
	if large > small {
		t.Errorf("an endpoint change allocates %v times at 1,000 services and %v times at 20,000", small, large)
	}
}

func TestDroppedReadsCostNothing(t *testing.T) {
	m := newMesh()
	m.services.Set("a", 1)
	m.services.Set("b", 1)
	m.routes.Set("r", route{"g", "a"})
	m.eng.Commit(nil)
	m.routes.Set("r", route{"g", "b"})
	m.eng.Commit(nil)
	m.services.Set("a", 2)
	m.eng.Commit(nil)
	if diff := cmp.Diff(map[string]int{"endpoints": 1}, m.eng.Evals()); diff != "" {
		t.Errorf("evaluations (-want +got):\n%s", diff)
	}
}

// What was once read, absent entries too, is forgotten with its last reader.
func TestDroppedReadsAreForgotten(t *testing.T) {
	m := newMesh()
	for i := range 100 {
		m.routes.Set("r", route{"g", fmt.Sprint("absent", i)})
		m.eng.Commit(nil)
	}
	if n := len(m.services.readers); n != 1 {
		t.Errorf("readers of %d services are kept, want 1", n)
	}
}

func TestDeriveKeysJoinsItsSources(t *testing.T) {
	m := newMesh()
	m.slices.Set("orphan", endpoints{"a", "10.0.0.1"})
	m.services.Set("b", 80)
	m.eng.Commit(nil)
	want := map[string]string{"a": "0 false 10.0.0.1", "b": "80 true"}
	check := func() {
		t.Helper()
		got := map[string]string{}
		for k, v := range m.endpoints.All() {
			got[k] = v
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("endpoints (-want +got):\n%s", diff)
		}
	}
	check()
	m.services.Set("a", 81)
	m.eng.Commit(nil)
	want["a"] = "81 true 10.0.0.1"
	check()
	m.slices.Delete("orphan") // one of two sources goes: the key stays
	m.eng.Commit(nil)
	want["a"] = "81 true"
	check()
	m.services.Delete("a")
	m.eng.Commit(nil)
	delete(want, "a")
	check()
}

func TestPanicPoisonsOneKeyUntilAnInputOfItChanges(t *testing.T) {
	var eng Engine
	var reported []string
	eng.OnFailure = func(f Failure) {
		reported = append(reported, fmt.Sprint(f.Collection, "/", f.Key, ": ", f.Problem))
		if !strings.Contains(f.Stack, "incr_test.go") {
			t.Errorf("the stack does not show the function:\n%s", f.Stack)
		}
	}
	in := NewInput[string](&eng, "in", same[int])
	factor := NewInput[string](&eng, "factor", same[int])
	out := Derive(&eng, "out", in, same[int], func(r *Reader, k string, v int, emit func(string, int)) {
		f, _ := Get(r, factor, "f")
		emit(k, f/v)
		emit(k+"+", f/v+1)
	})
	value := func(k string, want int) {
		t.Helper()
		if v, ok := out.Value(k); !ok || v != want {
			t.Fatalf("%s = %d, %t, want %d", k, v, ok, want)
		}
	}
	factor.Set("f", 12)
	in.Set("a", 2)
	in.Set("b", 3)
	eng.Commit(nil)
	in.Set("a", 0)
	in.Set("b", 4)
	in.Set("new", 0)
	eng.Commit(nil)
	value("a", 6) // its last good value
	value("a+", 7)
	value("b", 3)
	if _, ok := out.Value("new"); ok {
		t.Error("a key that never worked has a value")
	}
	eng.Commit(nil)
	if n := eng.TotalEvals(); n != 0 {
		t.Errorf("%d evaluations of poisoned keys without a change", n)
	}
	factor.Set("f", 24)
	eng.Commit(nil)
	if n := eng.TotalEvals(); n != 3 {
		t.Errorf("%d evaluations, want 3: an input that poisoned keys had read changed", n)
	}
	want := []string{"out/a: runtime error: integer divide by zero", "out/new: runtime error: integer divide by zero"}
	slices.Sort(reported)
	if diff := cmp.Diff(want, reported); diff != "" {
		t.Errorf("each failure is reported once (-want +got):\n%s", diff)
	}
	in.Set("a", 4)
	in.Delete("new")
	eng.Commit(nil)
	value("a", 6)
	value("a+", 7)
	if f := eng.Failures(); len(f) != 0 {
		t.Errorf("failures remain: %v", f)
	}
}

func TestEmittedTwice(t *testing.T) {
	var eng Engine
	in := NewInput[string](&eng, "in", same[string])
	out := Derive(&eng, "out", in, same[string], func(_ *Reader, k, v string, emit func(string, string)) { emit(v, "from "+k) })
	check := func(want, problem string) {
		t.Helper()
		eng.Commit(nil)
		got, _ := out.Value("x")
		if got != want {
			t.Errorf("x is %q, want %q", got, want)
		}
		problems := ""
		for _, f := range eng.Failures() {
			problems += fmt.Sprint(f.Collection, "/", f.Key, ": ", f.Problem)
		}
		if problems != problem {
			t.Errorf("failures: %q, want %q", problems, problem)
		}
	}
	in.Set("b", "x")
	check("from b", "")
	in.Set("c", "x")
	check("from b", "out/x: emitted by b and by c: the first one's value is used")
	in.Set("a", "x")
	check("from a", "out/x: emitted by a and by b: the first one's value is used")
	in.Delete("a")
	in.Set("b", "y")
	check("from c", "")
	in.Set("b", "x") // the key moves in one batch: no failure in between
	in.Delete("c")
	check("from b", "")
	if n := eng.TotalEvals(); n != 1 {
		t.Errorf("%d evaluations, want 1", n)
	}
}

func TestOneFunctionEmittingAKeyTwiceFails(t *testing.T) {
	var eng Engine
	in := NewInput[string](&eng, "in", same[int])
	Derive(&eng, "out", in, same[int], func(_ *Reader, _ string, n int, emit func(int, int)) {
		for i := range n {
			emit(i, i)
		}
		emit(n-1, 0)
	})
	for _, n := range []int{1, 15, 16, 17, 40} {
		in.Set("k", n)
		eng.Commit(nil)
		if f := eng.Failures(); len(f) != 1 || f[0].Problem != fmt.Sprintf("key %d is emitted twice", n-1) {
			t.Errorf("n = %d: failures: %v", n, f)
		}
	}
}

func TestLookupVisitsInOrder(t *testing.T) {
	var eng Engine
	in := NewInput[int](&eng, "in", same[int])
	idx := NewIndex(in, func(a, b int) int { return b - a }, func(_, v int) []int { return []int{v} })
	out := DeriveKeys(&eng, "out", same[string], func(r *Reader, b int, emit func(int, string)) {
		s := ""
		Lookup(r, idx, b, func(k, _ int) { s += fmt.Sprint(k, " ") })
		emit(b, s)
	}, idx)
	for _, k := range []int{5, 1, 9, 3, 7, 2} {
		in.Set(k, 0)
		eng.Commit(nil)
	}
	in.Delete(9)
	in.Delete(3)
	eng.Commit(nil)
	if got, _ := out.Value(0); got != "7 5 2 1 " {
		t.Errorf("got %q", got)
	}
}

func TestAnOrderThatTakesKeysForEqualFails(t *testing.T) {
	var eng Engine
	in := NewInput[string](&eng, "in", same[string])
	idx := NewIndex(in, func(a, b string) int { return len(a) - len(b) }, func(_, v string) []string { return []string{v} })
	out := DeriveKeys(&eng, "out", same[int], func(r *Reader, b string, emit func(string, int)) {
		n := 0
		Lookup(r, idx, b, func(string, string) { n++ })
		emit(b, n)
	}, idx)
	in.Set("aa", "x")
	eng.Commit(nil)
	in.Set("bb", "x")
	eng.Commit(nil)
	if f := eng.Failures(); len(f) != 1 || f[0].Key != "bb" {
		t.Errorf("failures: %v", f)
	}
	in.Delete("bb") // it must not take the place of the other one with it
	eng.Commit(nil)
	if n, ok := out.Value("x"); !ok || n != 1 || len(eng.Failures()) != 0 {
		t.Errorf("bucket x has %d entries, %t; failures: %v", n, ok, eng.Failures())
	}
}

func TestAPanickingEqualityMeansDifferent(t *testing.T) {
	var eng Engine
	in := NewInput[string](&eng, "in", func(a, b int) bool { return a == b && 1/b > 0 })
	in.Set("k", 0)
	eng.Commit(nil)
	in.Set("k", 0)
	eng.Commit(func() {
		if n := len(in.Changes()); n != 1 {
			t.Errorf("%d changes, want 1", n)
		}
	})
	if n := len(eng.Failures()); n != 1 {
		t.Errorf("%d failures, want 1", n)
	}
	in.Set("k", 1)
	eng.Commit(nil)
	if n := len(eng.Failures()); n != 0 {
		t.Errorf("%d failures, want none", n)
	}
}

// Mistakes in how the graph is built or used are loud.
func TestMisuse(t *testing.T) {
	mustPanic := func(name, want string, f func()) {
		t.Helper()
		defer func() {
			t.Helper()
			if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
				t.Errorf("%s: panic %q, want one that says %q", name, got, want)
			}
		}()
		f()
	}
	m := newMesh()
	mustPanic("write derived", "derived", func() { m.gateways.Set("g", "") })
	mustPanic("same name", "distinct names", func() { NewInput[string](&m.eng, "services", same[int]) })
	m.eng.Commit(nil)
	mustPanic("late collection", "after the first Commit", func() { NewInput[string](&m.eng, "late", same[int]) })
	mustPanic("late index", "after the first Commit", func() {
		NewIndex(m.services, strings.Compare, func(string, int) []string { return nil })
	})

	var eng Engine
	in := NewInput[string](&eng, "in", same[int])
	var later *Collection[string, int]
	var leaked *Reader
	cases := []struct{ key, want string }{
		{"value", "through its Reader"}, {"write", "must not write"}, {"later", "was built after its reader"},
	}
	Derive(&eng, "out", in, same[int], func(r *Reader, k string, _ int, _ func(string, int)) {
		leaked = r
		switch k {
		case "value":
			in.Value(k)
		case "write":
			in.Set(k, 2)
		case "later":
			Get(r, later, k)
		}
	})
	later = NewInput[string](&eng, "later", same[int])
	for _, c := range cases {
		in.Set(c.key, 1)
		eng.Commit(nil)
		if f := eng.Failures(); len(f) != 1 || !strings.Contains(f[0].Problem, c.want) {
			t.Errorf("%s: failures %v, want one that says %q", c.key, f, c.want)
		}
		in.Delete(c.key)
	}
	mustPanic("leaked reader", "after its function has returned", func() { Get(leaked, in, "value") })
}

func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1000, 20000} {
		m := load(n)
		for _, c := range []struct {
			name string
			set  func(i int)
		}{
			{"endpoint", func(i int) { m.slices.Set("e7-3", endpoints{"s7", fmt.Sprint(i)}) }},
			{"route", func(i int) { m.routes.Set("r7", route{"g0", []string{"s7", "s8"}[i%2]}) }},
		} {
			b.Run(fmt.Sprintf("%s/services=%d", c.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					c.set(i)
					m.eng.Commit(nil)
				}
				b.ReportMetric(float64(m.eng.TotalEvals()), "evals/op")
			})
		}
	}
}

// TestPut: an input's entry is what is read from an object; one on which reading panics stays as it is until the next.
func TestPut(t *testing.T) {
	m := newMesh()
	var reported int
	m.eng.OnFailure = func(Failure) { reported++ }
	read := func(o any) int { return o.(int) }
	for _, step := range []struct {
		object   any
		want     int
		failures int
	}{{80, 80, 0}, {"no number", 80, 1}, {"no number", 80, 1}, {81, 81, 0}, {"no number", 81, 1}, {nil, 0, 0}} {
		Put(m.services, "a", step.object, read)
		Put(m.services, "b", 1, read)
		m.eng.Commit(nil)
		if v, _ := m.services.Value("a"); v != step.want || len(m.eng.Failures()) != step.failures {
			t.Errorf("%v: value %d, failures %v, want %d and %d failures", step.object, v, m.eng.Failures(), step.want, step.failures)
		}
		if v, _ := m.services.Value("b"); v != 1 {
			t.Errorf("%v: the other entry is %d", step.object, v)
		}
	}
	if reported != 2 {
		t.Errorf("%d failures were reported, want 2", reported)
	}
}
