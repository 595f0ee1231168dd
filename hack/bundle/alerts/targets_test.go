// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package alerts

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"tulle.dev/tulle/hack/bundle/source"
)

// TestProxyTargets: of the targets that Prometheus finds in a meshed pod, one for each container and
// port, one is left, at the port of the slot that works.
func TestProxyTargets(t *testing.T) {
	rules := relabelings(t, "tulle-proxy")
	for ip, want := range map[string]string{"198.18.0.7": "198.18.0.7:15020", "2001:db8::7": "[2001:db8::7]:15020"} {
		var got []string
		for container, port := range map[string]string{"app": ":8080", "tulle-proxy-a": "", "tulle-proxy-b": "", "tulle-init": ""} {
			b := labels.NewBuilder(labels.FromMap(map[string]string{
				model.AddressLabel:                      ip + port,
				"__meta_kubernetes_pod_ip":              ip,
				"__meta_kubernetes_pod_name":            "cart-0",
				"__meta_kubernetes_pod_container_name":  container,
				"__meta_kubernetes_pod_label_tulle_dev": "sidecar",
			}))
			if relabel.ProcessBuilder(b, rules...) {
				got = append(got, b.Get(model.AddressLabel))
			}
		}
		if diff := cmp.Diff([]string{want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ip, diff)
		}
	}
}

// relabelings are those of the one endpoint of a PodMonitor.
func relabelings(t *testing.T, monitor string) []*relabel.Config {
	t.Helper()
	all, err := source.Load(repo, "config/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	m, err := source.Find(all, "PodMonitor", func(o source.Object) bool { return o.Name() == monitor })
	if err != nil {
		t.Fatal(err)
	}
	endpoints := m.List("spec", "podMetricsEndpoints")
	if len(endpoints) != 1 {
		t.Fatalf("%d endpoints", len(endpoints))
	}
	text, err := json.Marshal(endpoints[0].(map[string]any)["relabelings"])
	if err != nil {
		t.Fatal(err)
	}
	var rules []struct {
		Action, Regex, TargetLabel, Replacement string
		SourceLabels                            []string
	}
	if err := json.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	var out []*relabel.Config
	for _, r := range rules {
		c := relabel.DefaultRelabelConfig
		c.Action, c.Regex = relabel.Action(r.Action), relabel.MustNewRegexp(r.Regex)
		c.TargetLabel, c.NameValidationScheme = r.TargetLabel, model.UTF8Validation
		if r.Replacement != "" {
			c.Replacement = r.Replacement
		}
		for _, s := range r.SourceLabels {
			c.SourceLabels = append(c.SourceLabels, model.LabelName(s))
		}
		if !slices.Contains([]string{"keep", "replace"}, r.Action) {
			t.Errorf("action %q", r.Action)
		}
		out = append(out, &c)
	}
	return out
}
