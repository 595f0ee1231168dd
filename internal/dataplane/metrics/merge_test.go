// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func text(s string, err error) Source {
	return func(_ context.Context, w io.Writer) error {
		if _, werr := io.WriteString(w, s); werr != nil {
			return werr
		}
		return err
	}
}

func TestHandler(t *testing.T) {
	own := &Registry{}
	own.Set("tulle_b", "B.", 1.5)
	own.Expect("tulle_c_total", "C.")
	own.Expect("tulle_a_total", "A.")
	own.Count("tulle_a_total", "A.")
	own.Count("tulle_a_total", "A.")
	sources := map[string]Source{
		"app":   text("app_up 1\napp_last 2\n# EOF", nil), // OpenMetrics, and no line end
		"envoy": text("envoy_up 1\nenvoy_ha", errors.New("connection reset")),
	}
	var w strings.Builder
	Merge(t.Context(), &w, own, sources, "app", "envoy")
	want := `app_up 1
app_last 2
envoy_up 1
# HELP tulle_a_total A.
# TYPE tulle_a_total counter
tulle_a_total 2
# HELP tulle_agent_envoy_scrape_errors_total Scrapes of the pod that lack this source's metrics, in part or whole.
# TYPE tulle_agent_envoy_scrape_errors_total counter
tulle_agent_envoy_scrape_errors_total 1
# HELP tulle_b B.
# TYPE tulle_b gauge
tulle_b 1.5
# HELP tulle_c_total C.
# TYPE tulle_c_total counter
tulle_c_total 0
`
	if d := cmp.Diff(want, w.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// FuzzMerge: whatever the application answers, the page has whole lines, ends, and has the agent's own metrics
// last, unless the application's are too long.
func FuzzMerge(f *testing.F) {
	for _, s := range []string{"", "a 1", "a 1\n", "# EOF", "# EOF\n# EOF\n", "\r\n\x00", "a{b=\"\n\"} 1"} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, app []byte, fails bool) {
		var err error
		if fails {
			err = errors.New("reset")
		}
		own := &Registry{}
		own.Set("tulle_own", "Own.", 1)
		var b bytes.Buffer
		Merge(t.Context(), &b, own, map[string]Source{"app": text(string(app), err)}, "app")
		got := b.Bytes()
		if !bytes.HasSuffix(got, []byte("\ntulle_own 1\n")) && !bytes.HasSuffix(got, []byte("# TYPE tulle_own gauge\ntulle_own 1\n")) {
			t.Errorf("the agent's own metrics are not last: %q", got)
		}
		for _, line := range bytes.SplitAfter(got, []byte("\n")) {
			if string(line) == "# EOF\n" {
				t.Error("the page ends in the middle for Prometheus")
			}
		}
		if i := bytes.Index(got, []byte("# HELP tulle_")); i > 0 && got[i-1] != '\n' {
			t.Errorf("a line of the application's runs into the agent's: %q", got)
		}
	})
}
