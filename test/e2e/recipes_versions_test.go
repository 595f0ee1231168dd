// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/load"
)

// canary: the share is as written, and an answer that is under way outlives edits of it.
func canary(t *testing.T, s shop, r recipe) {
	s.apply(t, r)
	sum := s.c.Load(t, s.ns, true, "-url", "http://reviews/", "-method", "POST", "-count", "2000").Wait(t, 2*time.Minute)
	noFailure(t, sum, 2000)
	chiSquared(t, sum.Versions["app"], map[string]float64{"v1": 0.95, "v2": 0.05})

	stream := make(chan error, 1)
	go func() {
		d, err := s.frontend.tryDial(t.Context(), "http", "http://reviews/stream?count=40&every=100ms")
		if lines := strings.Count(d.Text, "\n"); err == nil && lines != 40 {
			err = fmt.Errorf("%d of 40 lines: %s", lines, d.Error)
		}
		stream <- err
	}()
	for v1 := range 20 {
		s.begin(t, r, "weight: 95", fmt.Sprintf("weight: %d", v1))
	}
	if err := <-stream; err != nil {
		t.Errorf("an answer that was under way while the weights were edited: %v", err)
	}
	s.apply(t, r)
	s.asksItself(t)
}

// asksItself runs the guide's own question, whether the route is in effect everywhere.
func (s shop) asksItself(t *testing.T) {
	t.Helper()
	query := regexp.MustCompile(`kubectl -n shop get httproute reviews -o jsonpath='(.*)'`).FindStringSubmatch(s.guide)
	if query == nil {
		t.Fatal("the guide does not say any more how to ask a route")
	}
	path := jsonpath.New("query")
	if err := path.Parse(query[1]); err != nil {
		t.Fatal(err)
	}
	route := &gwapiv1.HTTPRoute{}
	if err := s.c.Get(t.Context(), client.ObjectKey{Namespace: s.ns, Name: "reviews"}, route); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(route)
	if err != nil {
		t.Fatal(err)
	}
	var object any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	if err := path.Execute(&said, object); err != nil || !strings.Contains(said.String(), "acknowledged by") {
		t.Errorf("the guide's question is answered with %q, %v", said.String(), err)
	}
}

// abTest: the header, and the cookie wherever it stands among others, lead to the new version, and
// nothing that only looks like them, in whichever order the rules are written.
func abTest(t *testing.T, s shop, r recipe) {
	const others = "  - backendRefs: [{name: reviews-v1, port: 80}]\n"
	s.apply(t, r, others, "", "  rules:\n", "  rules:\n"+others)
	if d := s.frontend.dial(t, "http", "-header", "X-Group: b", "http://reviews/"); d.Report.Version != "v2" {
		t.Errorf("with the rule for all others first: %d by %q %s", d.Status, d.Report.Version, d.Error)
	}
	s.apply(t, r)
	if got := s.next(t, 100); got["v2"] > 0 || got["v1"] < 100 {
		t.Errorf("without header and cookie: %v", got)
	}
	for _, k := range []struct {
		version string
		args    []string
	}{
		{"v2", []string{"-header", "X-Group: b"}},
		{"v1", []string{"-header", "X-Group: a"}},
		{"v1", []string{"-header", "X-Group: bb"}},
		{"v2", []string{"-header", "Cookie: group=b"}},
		{"v2", []string{"-header", "Cookie: session=1; group=b"}},
		{"v2", []string{"-header", "Cookie: group=b; session=1"}},
		{"v2", []string{"-header", "Cookie: a=1; group=b; c=2"}},
		// A client of HTTP/2 may send each cookie in a header of its own (RFC 9113, 8.2.3).
		{"v2", []string{"-h2", "-header", "Cookie: a=1; group=b; c=2"}},
		{"v1", []string{"-header", "Cookie: group=a"}},
		{"v1", []string{"-header", "Cookie: group=bb"}},
		{"v1", []string{"-header", "Cookie: mygroup=b"}},
	} {
		if d := s.frontend.dial(t, append(append([]string{"http"}, k.args...), "http://reviews/")...); d.Status != 200 || d.Report.Version != k.version {
			t.Errorf("%q: %d by %q %s, want %s", k.args, d.Status, d.Report.Version, d.Error, k.version)
		}
	}
}

// mirror: the share is copied, and no client ever sees what became of a copy.
func mirror(t *testing.T, s shop, r recipe) {
	s.apply(t, r)
	const sent = 2000
	sum := s.c.Load(t, s.ns, true, "-url", "http://reviews/hit/mirror", "-method", "POST", "-count", fmt.Sprint(sent)).Wait(t, 2*time.Minute)
	noFailure(t, sum, sent)
	if sum.Versions["app"]["v1"] != sent {
		t.Errorf("answers of %v, want v1's alone", sum.Versions)
	}
	// Nobody waits for copies: they are counted once no more come.
	copies := -1
	cluster.Eventually(t, 30*time.Second, "all copies have come", func() error {
		var hits struct{ Mirror int }
		if err := json.Unmarshal([]byte(s.frontend.dial(t, "http", "http://reviews-v2/hits").Text), &hits); err != nil {
			return err
		}
		if before := copies; hits.Mirror != before {
			copies = hits.Mirror
			return fmt.Errorf("%d, and %d before", copies, before)
		}
		return nil
	})
	chiSquared(t, map[string]int{"copied": copies, "not": sent - copies}, map[string]float64{"copied": 0.1, "not": 0.9})
}

// blueAndGreen: all requests go to the one, and once the weights are exchanged to the other, and back;
// the header leads to the new version all the while.
func blueAndGreen(t *testing.T, s shop, r recipe) {
	toGreen := []string{"weight: 1}", "weight: 0}", "weight: 0}", "weight: 1}"}
	for i, changes := range [][]string{nil, toGreen, nil} {
		s.apply(t, r, changes...)
		live := []string{"v1", "v2"}[i%2]
		if got := s.next(t, 100); len(got) != 1 || got[live] < 100 {
			t.Errorf("after %d changes of colour: %v, want %s alone", i, got, live)
		}
		if d := s.frontend.dial(t, "http", "-header", "X-Preview: yes", "http://reviews/"); d.Report.Version != "v2" {
			t.Errorf("with the header: %d by %q %s", d.Status, d.Report.Version, d.Error)
		}
	}
}

// next are the versions that answer the next requests of the steady load, at least n of them.
func (s shop) next(t *testing.T, n int) map[string]int {
	t.Helper()
	var first, last load.Summary
	// The last line may have been written before now, the one after it is of now.
	later := func(what string, enough func(load.Summary) bool) (sum load.Summary) {
		cluster.Eventually(t, time.Minute, what, func() error {
			p, ok := s.reviews.Progress(t.Context())
			if !ok || !enough(p) {
				return fmt.Errorf("%d requests sent", p.Sent)
			}
			sum = p
			return nil
		})
		return sum
	}
	stale := later("the load tells", func(load.Summary) bool { return true })
	first = later("the load tells again", func(p load.Summary) bool { return p.Seconds > stale.Seconds })
	last = later(fmt.Sprintf("the load sends %d more", n), func(p load.Summary) bool { return p.Sent >= first.Sent+n })
	got := maps.Clone(last.Versions["app"])
	for v, before := range first.Versions["app"] {
		if got[v] -= before; got[v] == 0 {
			delete(got, v)
		}
	}
	return got
}
