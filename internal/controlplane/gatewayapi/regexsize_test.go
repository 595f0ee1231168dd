// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp/syntax"
	"runtime"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// compiledSize is the size of the program itself.
func compiledSize(t testing.TB, tree *syntax.Regexp) int {
	t.Helper()
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, in := range prog.Inst {
		size += 1 + (len(in.Rune)/2*24+24)/25
	}
	return size
}

// randomRegex is an expression of all that the syntax has.
func randomRegex(rnd *rand.Rand, depth int) string {
	of := func(all ...string) string { return all[rnd.IntN(len(all))] }
	if depth == 0 {
		return of("a", "bc", "é", ".", `\d`, `\W`, "[a-f]", "[^xyz]", `\p{Greek}`, `\PL`, `\b`, "^", "$", "(?i:k)", "(?s:.)", "[[:alpha:]_]", "")
	}
	sub := func() string { return randomRegex(rnd, rnd.IntN(depth)) }
	switch rnd.IntN(5) {
	case 0:
		return sub() + sub() + sub()
	case 1:
		return "(" + sub() + "|" + sub() + ")"
	case 2:
		return "(?:" + sub() + ")" + of("*", "+", "?", "*?", "+?", "??")
	case 3:
		return "(?:" + sub() + ")" + of("{0}", "{1}", "{3}", "{2,5}", "{0,4}", "{2,}", "{1,}", "{0,}", "{1,2}?")
	}
	return "(" + sub() + ")"
}

// TestRegexSize: an expression counts no less than its program has, and almost always exactly that.
func TestRegexSize(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	text, err := os.ReadFile("regexdata/expressions.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	same, of := 0, 0
	for n := range 20_000 {
		expr := randomRegex(rnd, 5)
		if n < len(lines) && lines[n] != "" {
			expr = lines[n][1:]
		}
		tree, err := syntax.Parse(expr, syntax.Perl)
		if err != nil {
			continue
		}
		of++
		got, want := regexSize(tree), compiledSize(t, tree)
		if got < want {
			t.Fatalf("%q counts %d, and has %d", expr, got, want)
		}
		if got == want {
			same++
		}
	}
	if t.Logf("%d of %d are exact", same, of); same < of*9/10 {
		t.Error("too few are exact")
	}
	for expr, want := range map[string]int{"a{1000}b{900}": 1902, "/v[0-9]+/(items|orders)/[^/]+": 27, `\pL`: 0, ".*": 0, "(?i)caf[eé]": 0} {
		tree, err := syntax.Parse(expr, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		if got, is := regexSize(tree), compiledSize(t, tree); got != is || want > 0 && got != want {
			t.Errorf("%q counts %d, want %d, and has %d", expr, got, want, is)
		}
	}
}

// hostile are expressions of at most 4,096 characters, which is what the API server lets in, that take long to compile or parse.
func hostile() map[string]string {
	fill := func(s string) string { return strings.Repeat(s, 4000/len(s)) }
	return map[string]string{
		"a repetition of a long text": "(" + strings.Repeat("a", 3300) + "){1000}",
		"nested repetitions":          "((((((((((a{2}){2}){2}){2}){2}){2}){2}){2}){2}" + fill("b{1000}") + ")",
		"repetitions of repetitions":  "(?:(?:" + fill("(a{30}){33}") + "))",
		"classes":                     fill(`\pL`),
		"classes in brackets":         "[" + fill(`\pL`) + "]",
		"classes by scripts":          fill(`\p{Han}\P{Greek}`),
		"as many classes as may be":   strings.Repeat(`\pL`, 90),
		"as wide a range as may be":   "(?i)[A-\uefff]",
		"ranges from escapes":         "(?i)" + strings.Repeat(`[\t-\xff][\x{1}-z]`, 200),
		"ranges of all letters":       "(?i)[" + strings.Repeat("B-\U0001e942", 600) + "]",
		"ranges in many brackets":     "(?is)" + strings.Repeat("[B-\U0001e942]", 450),
		"alternatives":                strings.TrimSuffix(fill("(?i:k)|"), "|"),
		"common prefixes":             strings.TrimSuffix(fill("aaaaaaaaab|aaaaaaaa|"), "|"),
		"alternatives of classes":     strings.TrimSuffix(fill(`\pL|`), "|"),
		"depth":                       strings.Repeat("(", 2000) + strings.Repeat(")", 2000),
		"depth of repetitions":        strings.Repeat("(?:", 900) + strings.Repeat("){0,1}", 200),
		"brackets":                    fill("[^a]"),
		"a class that is not closed":  fill(`\p{L}[`),
		"nothing, many times":         fill("(?:)"),
	}
}

// routeOf is a route of 1.4 MB, as large as etcd takes one, with one expression after the other.
func routeOf(expr string, exact bool) *gwapiv1.HTTPRoute {
	kind := gwapiv1.HeaderMatchRegularExpression
	if exact {
		kind = gwapiv1.HeaderMatchExact
	}
	o := &gwapiv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "tenant", Name: "r"}, Spec: gwapiv1.HTTPRouteSpec{Rules: []gwapiv1.HTTPRouteRule{{}}}}
	for size := 0; size < 1_400_000; {
		m := gwapiv1.HTTPRouteMatch{}
		for i := range 16 {
			m.Headers = append(m.Headers, gwapiv1.HTTPHeaderMatch{Type: &kind, Name: gwapiv1.HTTPHeaderName(fmt.Sprint("h", i)), Value: expr})
			size += len(expr) + 60
		}
		o.Spec.Rules[0].Matches = append(o.Spec.Rules[0].Matches, m)
	}
	return o
}

// TestCostOfExpressions: no route takes longer to read than parsing that much plain text does, by more than a small
// factor, and none needs much memory meanwhile.
func TestCostOfExpressions(t *testing.T) {
	kind, _ := RouteKindOf(KindHTTPRoute)
	cost := func(do func()) (took time.Duration, allocated uint64) {
		took = time.Hour
		for range 2 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			do()
			took = min(took, time.Since(start))
			runtime.ReadMemStats(&after)
			allocated = after.TotalAlloc - before.TotalAlloc
			if took > 10*time.Second {
				break
			}
		}
		return took, allocated
	}
	plain, _ := cost(func() {
		for range 350 {
			if _, err := syntax.Parse(strings.Repeat("a", 4000), syntax.Perl); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Logf("plain text: %v", plain)
	for name, expr := range hostile() {
		if n := len([]rune(expr)); n > 4096 {
			t.Fatalf("%s: %d characters, which the API server refuses", name, n)
		}
		o := routeOf(expr, false)
		took, allocated := cost(func() { kind.Parse(o) })
		t.Logf("%s: %v, %d MiB", name, took, allocated>>20)
		if limit := 20*plain + 200*time.Millisecond; took > limit {
			t.Errorf("%s: takes %v, want at most %v", name, took, limit)
		}
		if allocated > 256<<20 {
			t.Errorf("%s: allocates %d MiB", name, allocated>>20)
		}
	}
}

// TestExpressionsOfARoute: expressions that are small enough each are refused where all of a route are too large.
func TestExpressionsOfARoute(t *testing.T) {
	regex := gwapiv1.HeaderMatchRegularExpression
	path, method := gwapiv1.PathMatchRegularExpression, gwapiv1.GRPCMethodMatchRegularExpression
	http, grpc := &gwapiv1.HTTPRoute{}, &gwapiv1.GRPCRoute{}
	big := "a{1000}b{900}"
	for range 90 {
		http.Spec.Rules = append(http.Spec.Rules, gwapiv1.HTTPRouteRule{Matches: []gwapiv1.HTTPRouteMatch{{Path: &gwapiv1.HTTPPathMatch{Type: &path, Value: &big}}}})
		grpc.Spec.Rules = append(grpc.Spec.Rules, gwapiv1.GRPCRouteRule{Matches: []gwapiv1.GRPCRouteMatch{{Method: &gwapiv1.GRPCMethodMatch{Type: &method, Service: &big}}}})
	}
	for kind, o := range map[string]any{KindHTTPRoute: http, KindGRPCRoute: grpc} {
		k, _ := RouteKindOf(kind)
		r := k.Parse(o)
		good := 0
		for _, u := range r.rules {
			if len(u.problems) == 0 {
				good++
			} else if p := u.problems[0]; p.Reason != string(gwapiv1.RouteReasonUnsupportedValue) || !strings.Contains(p.Text, "is too large together with the other expressions of the route") {
				t.Errorf("%s: %+v", kind, p)
			}
		}
		if good != 78 { // 78 × 1,902 instructions
			t.Errorf("%s: %d rules are good, want 78", kind, good)
		}
		if n := r.size.regexes; n < 78*1902*regexBytes || n > 79*1950*regexBytes {
			t.Errorf("%s: expressions count %d bytes", kind, n)
		}
	}
	// What an ordinary route has is far below: 128 matches with 16 headers each.
	o := &gwapiv1.HTTPRoute{Spec: gwapiv1.HTTPRouteSpec{Rules: []gwapiv1.HTTPRouteRule{{}}}}
	for range 128 {
		m := gwapiv1.HTTPRouteMatch{}
		for i := range 16 {
			m.Headers = append(m.Headers, gwapiv1.HTTPHeaderMatch{Type: &regex, Name: gwapiv1.HTTPHeaderName(fmt.Sprint("h", i)), Value: "(?i)^(blue|green)-[0-9a-f]{8}$"})
		}
		o.Spec.Rules[0].Matches = append(o.Spec.Rules[0].Matches, m)
	}
	k, _ := RouteKindOf(KindHTTPRoute)
	if r := k.Parse(o); !r.valid() {
		t.Errorf("an ordinary route: %+v", r.rules[0].problems[0])
	}
}

// TestExpressionsOfTheMesh: expressions that the mesh itself makes of a route count as well: for origins, for paths that can
// be written in several ways, and for preflights.
func TestExpressionsOfTheMesh(t *testing.T) {
	long, exact := "/"+strings.Repeat("%cc", 300), gwapiv1.PathMatchExact
	origin := gwapiv1.CORSOrigin("https://" + strings.Repeat("x", 200) + ".example.com")
	cors := []gwapiv1.HTTPRouteFilter{{Type: gwapiv1.HTTPRouteFilterCORS, CORS: &gwapiv1.HTTPCORSFilter{AllowOrigins: []gwapiv1.CORSOrigin{origin}}}}
	name := gwapiv1.HTTPHeaderName(strings.Repeat("n", 250))
	k, _ := RouteKindOf(KindHTTPRoute)
	for what, c := range map[string]struct {
		rule  gwapiv1.HTTPRouteRule
		least int
	}{
		"a path":      {gwapiv1.HTTPRouteRule{Matches: []gwapiv1.HTTPRouteMatch{{Path: &gwapiv1.HTTPPathMatch{Type: &exact, Value: &long}}}}, 900},
		"an origin":   {gwapiv1.HTTPRouteRule{Filters: cors}, 200},
		"a preflight": {gwapiv1.HTTPRouteRule{Filters: cors, Matches: []gwapiv1.HTTPRouteMatch{{Headers: []gwapiv1.HTTPHeaderMatch{{Name: name, Value: "v"}}}}}, 3*200 + 250},
		"nothing":     {gwapiv1.HTTPRouteRule{}, 0},
	} {
		r := k.Parse(&gwapiv1.HTTPRoute{Spec: gwapiv1.HTTPRouteSpec{Rules: []gwapiv1.HTTPRouteRule{c.rule}}})
		if n := r.size.regexes / regexBytes; !r.valid() || n < c.least || n > 4*c.least {
			t.Errorf("%s counts %d instructions, want about %d", what, n, c.least)
		}
	}
}

// FuzzExpression: whatever an expression says, it is judged soon, and one that is accepted compiles to no more than it
// counts.
func FuzzExpression(f *testing.F) {
	for _, expr := range hostile() {
		f.Add(expr)
	}
	for _, expr := range []string{"", `\`, `\p`, `\p{`, `\pé`, `\Q\pL`, "(?i)[a-\xff]", "a{1000}b{900}", `[\x{ff}-é]`} {
		f.Add(expr)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		if len(expr) > 16<<10 {
			return
		}
		start := time.Now()
		size, wrong := new(expressions).check(expr)
		if took := time.Since(start); took > time.Second {
			t.Fatalf("it took %v", took)
		}
		if wrong != "" {
			return
		}
		tree, err := syntax.Parse(expr, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		if is := compiledSize(t, tree); is > size || size > maxRegexSize {
			t.Errorf("it counts %d, and has %d", size, is)
		}
	})
}
