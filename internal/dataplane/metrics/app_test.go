// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"tulle.dev/tulle/internal/scrape"
)

func unreserved(string) bool { return false }

// page is what a client gets. app is nil if there is no application.
func page(own *Registry, envoy Source, app *App) []byte {
	w := httptest.NewRecorder()
	NewPage(own, func() {}, envoy, app).ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", http.NoBody))
	return w.Body.Bytes()
}

// at is an application with that address.
func at(url string) *App { return &App{Dial: (&net.Dialer{}).DialContext, URL: url} }

// TestHTTP: what the application serves, from where, and how much.
func TestHTTP(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		io.WriteString(w, "stolen 1\n")
	}))
	defer other.Close()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics":
			io.WriteString(w, fmt.Sprintf("accept{of=%q} 1\n", r.Header.Get("Accept")))
		case "/moved":
			http.Redirect(w, r, "/metrics", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other.URL+"/", http.StatusFound)
		case "/other-name":
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/endless":
			for line := "# " + strings.Repeat("x", 1<<16) + "\n"; ; {
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
			}
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", 2*maxAppHeaders))
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer app.Close()
	const accepted = "accept{of=\"text/plain;version=0.0.4\"} 1\n"
	for path, want := range map[string]string{
		"/metrics": accepted, "/moved": accepted,
		"/other": "", "/away": "", "/other-name": "", "/loop": "", "/headers": "",
	} {
		got := at(app.URL + path).reader()(t.Context()).part(&scrape.Page{})
		if string(got.text) != want || (got.err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", path, got.text, got.err, want)
		}
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirection to another host was followed")
	}
	if a := at(app.URL + "/endless").reader()(t.Context()); a.err == nil || len(a.body) > 0 {
		t.Errorf("of an endless body there are %d bytes: %v", len(a.body), a.err)
	}
}

// parse reads a page strictly.
func parse(page []byte) (names []string, err error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	for name := range families {
		names = append(names, name)
	}
	return names, err
}

// TestBadAnswers: whatever the application answers, the page is valid and has the proxy's metrics; a part that is not
// valid is left out, counted, and has its reason in a comment.
func TestBadAnswers(t *testing.T) {
	const envoy = "# TYPE envoy_a counter\nenvoy_a{b=\"c\"} 1\n# TYPE envoy_h histogram\nenvoy_h_bucket{le=\"+Inf\"} 1\nenvoy_h_sum 1\nenvoy_h_count 1\n"
	for name, c := range map[string]struct {
		kind, body string
		want       string // what is in the page of the application's
		failed     bool
		conflict   bool
	}{
		"a page":             {kind: "text/html; charset=utf-8", body: "<!doctype html>\n<html><body>Hello</body></html>", failed: true},
		"JSON":               {kind: "application/json", body: `{"up": 1}`, failed: true},
		"protobuf":           {kind: "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily", body: "\x0a\x05\x00\xff", failed: true},
		"no value":           {body: "app_up 1\napp_down\n", failed: true},
		"broken in a label":  {body: "app_up 1\napp_down{a=\"b", failed: true},
		"not a number":       {body: "app_up one\n", failed: true},
		"a bad label":        {body: "app_up{a-b=\"1\"} 1\n", failed: true},
		"a label twice":      {body: "app_up{a=\"1\",a=\"2\"} 1\n", failed: true},
		"not UTF-8":          {body: "app_up{a=\"\xff\"} 1\n", failed: true},
		"a bound of letters": {body: "# TYPE app_h histogram\napp_h_bucket{le=\"x\"} 1\n", failed: true},
		"empty":              {},
		"no Content-Type":    {body: "app_up 1\n", want: "app_up 1\n"},
		"a wrong Content-Type, and metrics": {
			kind: "text/html", body: "app_up 1\n", want: "app_up 1\n",
		},
		"without a last line end": {body: "app_up 1", want: "app_up 1\n"},
		"Windows":                 {body: "# HELP app_up Up.\r\n# TYPE app_up gauge\r\napp_up 1 1000\r\n", want: "# HELP app_up Up.\n# TYPE app_up gauge\napp_up 1 1000\n"},
		"types twice, and late": {
			body: "# HELP app_a A.\n# HELP app_a B.\n# TYPE app_a gauge\n# TYPE app_a counter\napp_a 1\napp_b 1\n# TYPE app_b gauge\n",
			want: "# HELP app_a A.\n# TYPE app_a gauge\napp_a 1\napp_b 1\n",
		},
		"escapes": {
			body: "# HELP app_a a\\tb\napp_a { a = \"x\\n\\\"\\\\{}#,\" , } 1e3\t-5\n",
			want: "# HELP app_a a\\\\tb\napp_a{a=\"x\\n\\\"\\\\{}#,\"} 1e3 -5\n",
		},
		"OpenMetrics": {
			kind: "application/openmetrics-text; version=1.0.0; charset=utf-8",
			body: "# TYPE foo histogram\n# UNIT foo seconds\nfoo_bucket{le=\"1\"} 3 # {trace_id=\"x\"} 0.5\nfoo_count 3\nfoo_sum 1.5\n" +
				"# TYPE bar info\nbar_info{v=\"1\"} 1 1520879607.789\n# TYPE baz counter\nbaz_total 1 # {a=\"b\"} 1 1\n# EOF\n",
			want: "# TYPE foo histogram\nfoo_bucket{le=\"1\"} 3\nfoo_count 3\nfoo_sum 1.5\nbar_info{v=\"1\"} 1 1520879607789\n# TYPE baz counter\nbaz_total 1\n",
		},
		"names of the proxy": {
			body: "# HELP envoy_a Mine.\n# TYPE envoy_a gauge\nenvoy_a 7\nenvoy_h_bucket{le=\"1\"} 7\nenvoy_h 7\nenvoy_mine 7\ntulle_own 7\n# TYPE tulle_x gauge\n",
			want: "envoy_mine 7\n", conflict: true,
		},
		"too many names": {body: func() string {
			var b strings.Builder
			for n := range maxFamilies + 1 {
				fmt.Fprintf(&b, "app_%d 1\n", n)
			}
			return b.String()
		}(), failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = nil
				if c.kind != "" {
					w.Header().Set("Content-Type", c.kind)
				}
				io.WriteString(w, c.body)
			}))
			defer app.Close()
			own := &Registry{}
			own.Set("tulle_own", "Own.", 1)
			b := page(own, source(envoy, nil), at(app.URL))
			if _, err := parse(b); err != nil {
				t.Errorf("the page is not valid: %v\n%.2000s", err, b)
			}
			got, rest, _ := strings.Cut(strings.TrimPrefix(string(b), envoy), "# HELP tulle_")
			if c.failed {
				if !strings.HasPrefix(got, "# The application's metrics are left out: ") || strings.Count(got, "\n") != 1 {
					t.Errorf("no reason: %.300q", got)
				}
			} else if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			for line, want := range map[string]bool{
				appErrors + " 1\n": c.failed, appErrors + " 0\n": !c.failed, appReserved + " 1\n": c.conflict, "tulle_own 1\n": true, envoyErrors + " 0\n": true,
			} {
				if strings.Contains(rest, line) != want {
					t.Errorf("%q: %v\n%s", line, !want, rest)
				}
			}
		})
	}
}

// TestAnswerThatEndsEarly: an application that breaks off in the middle of a line costs its own metrics only.
func TestAnswerThatEndsEarly(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 1 << 10 {
			io.WriteString(w, strings.Repeat("app_up{a=\"b\"} 1\n", 64))
		}
		io.WriteString(w, "app_up{a=")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer app.Close()
	b := string(page(&Registry{}, source("envoy_a 1\n", nil), at(app.URL)))
	if names, err := parse([]byte(b)); err != nil || strings.Contains(b, "\napp_up") || !strings.HasPrefix(b, "envoy_a 1\n") {
		t.Errorf("%v, %v\n%.500s", names, err, b)
	}
}

// FuzzText: what is taken of an application's answer is valid to a strict parser, and taken whole when it is read again.
func FuzzText(f *testing.F) {
	for _, s := range []string{
		"", "a 1", "a{b=\"c\"} 1 2\n", "# TYPE a histogram\na_bucket{le=\"1\"} 1 # {x=\"y\"} 1\na_sum 1\na_count 1\n# EOF\n", "# HELP a \\", "a{,} 1",
		"# TYPE a summary\na{quantile=\"0.5\"} 1\na_sum NaN\na_count 1\n", "\x00", "a{b=\"\n\"} 1", "<html>", "# TYPE a counter\r\n# TYPE a gauge\r\n", "a 0x1p-2", "a 1_0", "a-1",
		"# TYPE a histogram\na_count-1\n", "# TYPE a histogram\na_count -1\n", "# TYPE a histogram\na_bucket{le=\"1\"} -1\na_sum -1\n",
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, seconds bool) {
		first := text{seconds: seconds, reserved: unreserved}
		if first.read(strings.NewReader(s)) != nil {
			return
		}
		if _, err := parse(first.out.Bytes()); err != nil {
			t.Fatalf("%q became %q: %v", s, &first.out, err)
		}
		again := text{reserved: unreserved}
		if err := again.read(bytes.NewReader(first.out.Bytes())); err != nil || again.out.String() != first.out.String() {
			t.Fatalf("%q became %q, then %q, %v", s, &first.out, &again.out, err)
		}
	})
}
