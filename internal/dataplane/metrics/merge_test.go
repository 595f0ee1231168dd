// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
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
	w := httptest.NewRecorder()
	Handler(own, sources, "app", "envoy").ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
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
	if d := cmp.Diff(want, w.Body.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := w.Header().Get("Content-Type"); got != ContentType {
		t.Errorf("content type %q", got)
	}
}

func TestHTTP(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		io.WriteString(w, "accept "+r.Header.Get("Accept")+"\n")
	}))
	defer app.Close()
	var b strings.Builder
	if err := HTTP(app.Client(), app.URL+"/metrics")(t.Context(), &b); err != nil || b.String() != "accept text/plain;version=0.0.4\n" {
		t.Errorf("%q, %v", &b, err)
	}
	if err := HTTP(app.Client(), app.URL+"/other")(t.Context(), &b); err == nil {
		t.Error("a status of 500 was taken for metrics")
	}
}
