// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func source(s string, err error) Source {
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
	envoy := source("envoy_up 1\nenvoy_ha", errors.New("connection reset"))
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "app_up 1\napp_last 2\n") }))
	defer app.Close()
	want := `envoy_up 1
app_up 1
app_last 2
# HELP tulle_a_total A.
# TYPE tulle_a_total counter
tulle_a_total 2
# HELP tulle_agent_app_scrape_errors_total Scrapes of the pod that lack the application's metrics. A comment in the scrape has the reason.
# TYPE tulle_agent_app_scrape_errors_total counter
tulle_agent_app_scrape_errors_total 0
# HELP tulle_agent_app_scrape_name_conflicts_total Scrapes of the pod that lack metrics of the application which have the same name as one of the proxy's.
# TYPE tulle_agent_app_scrape_name_conflicts_total counter
tulle_agent_app_scrape_name_conflicts_total 0
# HELP tulle_agent_envoy_scrape_errors_total Scrapes of the pod that lack Envoy's metrics, in part or whole.
# TYPE tulle_agent_envoy_scrape_errors_total counter
tulle_agent_envoy_scrape_errors_total 1
# HELP tulle_b B.
# TYPE tulle_b gauge
tulle_b 1.5
# HELP tulle_c_total C.
# TYPE tulle_c_total counter
tulle_c_total 0
`
	if d := cmp.Diff(want, string(page(own, envoy, at(app.URL)))); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// FuzzPage: whatever Envoy's part is, the page has whole lines, ends, and has the agent's own metrics last.
func FuzzPage(f *testing.F) {
	for _, s := range []string{"", "a 1", "a 1\n", "# EOF", "# EOF\n# EOF\n", "\r\n\x00", "a{b=\"\n\"} 1"} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, part []byte, fails bool) {
		var err error
		if fails {
			err = errors.New("reset")
		}
		own := &Registry{}
		own.Set("tulle_own", "Own.", 1)
		got := page(own, source(string(part), err), nil)
		if !bytes.HasSuffix(got, []byte("\ntulle_own 1\n")) && !bytes.HasSuffix(got, []byte("# TYPE tulle_own gauge\ntulle_own 1\n")) {
			t.Errorf("the agent's own metrics are not last: %q", got)
		}
		for _, line := range bytes.SplitAfter(got, []byte("\n")) {
			if string(line) == "# EOF\n" {
				t.Error("the page ends in the middle for Prometheus")
			}
		}
		if i := bytes.Index(got, []byte("# HELP tulle_")); i > 0 && got[i-1] != '\n' {
			t.Errorf("a line of Envoy's runs into the agent's: %q", got)
		}
	})
}
