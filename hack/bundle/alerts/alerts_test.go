// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package alerts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"tulle.dev/tulle/hack/bundle/source"
)

const repo = "../../.."

// theirs lists metrics of the libraries, as their sources name them:
// controller-runtime, pkg/internal/controller/metrics and pkg/metrics/leaderelection.go.
var theirs = []string{"controller_runtime_reconcile_errors_total", "leader_election_master_status"}

type alert struct {
	name, expr string
	rule       source.Object
}

func alerts(t *testing.T) []alert {
	t.Helper()
	all, err := source.Load(repo, "config/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := source.Find(all, "PrometheusRule", nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []alert
	for _, g := range rules.List("spec", "groups") {
		for _, r := range source.Object(g.(map[string]any)).List("rules") {
			r := source.Object(r.(map[string]any))
			out = append(out, alert{r.Text("alert"), r.Text("expr"), r})
		}
	}
	if len(out) == 0 {
		t.Fatal("no alerts")
	}
	return out
}

// TestMetricsExist: what an alert asks for is registered somewhere, so that it can ever fire.
func TestMetricsExist(t *testing.T) {
	known := registered(t)
	for _, a := range alerts(t) {
		e, err := parser.NewParser(parser.Options{}).ParseExpr(a.expr)
		if err != nil {
			t.Errorf("%s: %v", a.name, err)
			continue
		}
		for _, name := range metrics(e) {
			if !known[name] && !slices.Contains(theirs, name) {
				t.Errorf("%s: nobody registers the metric %s", a.name, name)
			}
		}
	}
}

// TestRunbooks: every alert has a page that is complete, and every page an alert.
func TestRunbooks(t *testing.T) {
	const folder = "docs/operating/runbooks"
	pages := map[string]bool{}
	entries, err := os.ReadDir(filepath.Join(repo, folder))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name, isPage := strings.CutSuffix(e.Name(), ".md"); isPage && name != "README" {
			pages[name] = true
		}
	}
	index, err := os.ReadFile(filepath.Join(repo, folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range alerts(t) {
		if seen[a.name] {
			t.Errorf("two alerts %s", a.name)
		}
		seen[a.name] = true
		if url := a.rule.Text("annotations", "runbook_url"); !strings.HasSuffix(url, "/"+folder[len("docs/"):]+"/"+a.name) {
			t.Errorf("%s: its runbook_url is %q", a.name, url)
		}
		for _, key := range []string{"summary", "description"} {
			if a.rule.Text("annotations", key) == "" {
				t.Errorf("%s has no %s", a.name, key)
			}
		}
		if s := a.rule.Text("labels", "severity"); s != "warning" && s != "critical" {
			t.Errorf("%s: severity %q", a.name, s)
		}
		text, err := os.ReadFile(filepath.Join(repo, folder, a.name+".md"))
		if err != nil {
			t.Errorf("%s has no runbook: %v", a.name, err)
			continue
		}
		for _, part := range []string{"# " + a.name + "\n", "**Means.**", "**Harm.**", "## Look", "## Do"} {
			if !strings.Contains(string(text), part) {
				t.Errorf("the runbook of %s lacks %q", a.name, part)
			}
		}
		if !strings.Contains(string(index), "("+a.name+".md)") {
			t.Errorf("the list of runbooks lacks %s", a.name)
		}
		delete(pages, a.name)
	}
	for name := range pages {
		t.Errorf("runbook %s belongs to no alert", name)
	}
}

// metrics are the names that an expression selects, without a histogram's suffix.
func metrics(e parser.Expr) []string {
	var out []string
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		name := v.Name
		for _, m := range v.LabelMatchers {
			if m.Name == labels.MetricName {
				name = m.Value
			}
		}
		out = append(out, strings.TrimSuffix(name, "_bucket"))
		return nil
	})
	return out
}
