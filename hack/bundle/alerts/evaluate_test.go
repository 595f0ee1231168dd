// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package alerts

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/template"
)

// evaluateEvery is how often the simulated Prometheus evaluates its rules.
const evaluateEvery = time.Minute

// firing is an alert that fired.
type firing struct {
	alert  string
	labels string
	// after is how long after the fault it fired first; negative: before.
	after time.Duration
	// summary and description as people get them.
	summary, description string
}

func engine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: 10 * time.Second, LookbackDelta: 5 * time.Minute, Parser: parser.NewParser(parser.Options{}),
	})
}

// evaluate has rules looked at from one time to another, as Prometheus does: a result that has been
// there for as long as the rule says fires.
func evaluate(t *testing.T, rules []alert, w *world, begin, end time.Duration) []firing {
	t.Helper()
	e := engine()
	var out []firing
	for _, a := range rules {
		wait, err := model.ParseDuration(orZero(a.rule.Text("for")))
		if err != nil {
			t.Fatalf("%s: %v", a.name, err)
		}
		since, fired := map[string]time.Duration{}, map[string]bool{}
		for at := begin; at <= end; at += evaluateEvery {
			now := w.began.Add(at)
			pending := map[string]time.Duration{}
			for _, s := range ask(t, e, w, a.expr, now) {
				key := s.Metric.String()
				first, known := since[key]
				if !known {
					first = at
				}
				pending[key] = first
				if at-first < time.Duration(wait) || fired[key] {
					continue
				}
				fired[key] = true
				out = append(out, firing{a.name, key, at, words(t, a, s, now, "summary"), words(t, a, s, now, "description")})
			}
			since = pending
		}
	}
	return out
}

func orZero(s string) string {
	if s == "" {
		return "0s"
	}
	return s
}

// ask evaluates an expression once.
func ask(t *testing.T, e *promql.Engine, w *world, expr string, now time.Time) promql.Vector {
	t.Helper()
	q, err := e.NewInstantQuery(t.Context(), w, nil, expr, now)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer q.Close()
	r := q.Exec(t.Context())
	if len(r.Warnings) > 0 {
		t.Errorf("%s: %v", expr, r.Warnings)
	}
	v, err := r.Vector()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	out := make(promql.Vector, len(v))
	copy(out, v) // the engine takes back what it gave
	return out
}

// words is an annotation with the alert's labels and value filled in. A label that the result lacks is
// an error, where Prometheus would leave a gap.
func words(t *testing.T, a alert, s promql.Sample, now time.Time, annotation string) string {
	t.Helper()
	text := `{{$labels := .Labels}}{{$value := .Value}}` + a.rule.Text("annotations", annotation)
	data := template.AlertTemplateData(s.Metric.Map(), nil, "", s)
	got, err := template.NewTemplateExpander(t.Context(), text, a.name, data, model.TimeFromUnix(now.Unix()), nil, nil, []string{"missingkey=error"}).Expand()
	if err != nil || strings.Contains(got, "no value") {
		t.Errorf("%s, %s: %q, %v", a.name, annotation, got, err)
	}
	return got
}
