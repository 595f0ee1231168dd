// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gate

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
)

// TestPrometheus has answers as Prometheus gives them.
func TestPrometheus(t *testing.T) {
	const query = `sum(rate(errors_total{ns="shop"}[1m])) / 2`
	vector := func(samples string) string {
		return `{"status":"success","data":{"resultType":"vector","result":[` + samples + `]}}`
	}
	one := func(v string) string { return vector(`{"metric":{},"value":[1735787045.781,"` + v + `"]}`) }
	for name, c := range map[string]struct {
		code    int
		answer  string
		want    v1alpha1.GateVerdict // empty: no answer
		message string               // a part of it
	}{
		"below":             {200, one("0.005"), v1alpha1.GatePassed, "the query answers 0.005, at most 0.01 is allowed"},
		"the limit":         {200, one("0.01"), v1alpha1.GatePassed, "the query answers 0.01, at most 0.01 is allowed"},
		"above":             {200, one("0.25"), v1alpha1.GateFailed, "the query answers 0.25, more than 0.01"},
		"for ever":          {200, one("+Inf"), v1alpha1.GateFailed, "the query answers +Inf, more than 0.01"},
		"less than nothing": {200, one("-Inf"), v1alpha1.GatePassed, "the query answers -Inf"},
		"a warning":         {200, strings.Replace(one("0"), `"data"`, `"warnings":["x"],"infos":["y"],"data"`, 1), v1alpha1.GatePassed, "the query answers 0,"},
		"a scalar":          {200, `{"status":"success","data":{"resultType":"scalar","result":[1735787045.781,"1"]}}`, v1alpha1.GateFailed, "the query answers 1, more"},
		"NaN":               {200, one("NaN"), v1alpha1.GateNoEvidence, "the query answers NaN, as a division of zero by zero does"},
		"nothing":           {200, vector(""), v1alpha1.GateNoEvidence, "the query answers nothing"},
		"several": {
			200, vector(`{"metric":{"pod":"a"},"value":[1735787045.781,"0"]},{"metric":{"pod":"b"},"value":[1735787045.781,"1"]}`),
			"", "the query answers 2 values, it must be one: add them up, as with sum(...)",
		},
		"a histogram": {200, vector(`{"metric":{},"histogram":[1735787045.781,{"count":"1","sum":"2"}]}`), "", "the query answers a histogram, it must be a number"},
		"a range":     {200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"]]}]}}`, "", "the query answers a matrix, it must be a number"},
		"a string":    {200, `{"status":"success","data":{"resultType":"string","result":[1735787045.781,"x"]}}`, "", "the query answers a string"},
		"no query": {
			400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis"}`,
			"", `Prometheus refuses the query: invalid parameter "query": 1:5: parse error: unclosed left parenthesis`,
		},
		"too slow":     {503, `{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}`, "", "Prometheus refuses the query: query timed out"},
		"a proxy":      {502, "<html>\n  bad gateway</html>", "", "answers 502: <html> bad gateway</html>"},
		"another page": {200, "<html>hello", "", "does not answer as a Prometheus does: <html>hello"},
		"other JSON":   {200, `{}`, "", "does not answer as a Prometheus does: {}"},
		"no number":    {200, one("x"), "", "the answer can't be read"},
		"half a value": {200, vector(`{"metric":{},"value":[1]}`), "", "the answer can't be read: a sample has 1 parts"},
		"too much":     {200, strings.Repeat(" ", maxAnswer+1), "", "is larger than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/prom/api/v1/query" || r.FormValue("query") != query || r.FormValue("tenant") != "a b" {
					t.Errorf("asked %s %s", r.Method, r.URL)
				}
				w.WriteHeader(c.code)
				io.WriteString(w, c.answer)
			}))
			defer s.Close()
			v, message, err := NewExternal().Ask(t.Context(), v1alpha1.ExternalGate{URL: s.URL + "/prom/?tenant=a+b", Query: query, Max: "0.01"})
			check(t, v, message, err, c.want, c.message)
		})
	}
}

func check(t *testing.T, v v1alpha1.GateVerdict, message string, err error, want v1alpha1.GateVerdict, part string) {
	t.Helper()
	said := message
	if want == "" && err != nil {
		said = err.Error()
	}
	if v != want || (err != nil) != (want == "") || !strings.Contains(said, part) {
		t.Errorf("%q: %q, error %v; want %q: %q", v, message, err, want, part)
	}
}

func TestURL(t *testing.T) {
	for name, c := range map[string]struct {
		code    int
		answer  string
		want    v1alpha1.GateVerdict
		message string
	}{
		"good":          {200, "fine", v1alpha1.GatePassed, "/check answers 200"},
		"bad":           {503, "too many errors\n", v1alpha1.GateFailed, "/check answers 503: too many errors"},
		"another good":  {204, "", v1alpha1.GateFailed, "/check answers 204"},
		"a login page":  {302, "", v1alpha1.GateFailed, "/check answers 302"},
		"a long lament": {500, strings.Repeat("ž", 500), v1alpha1.GateFailed, "ž…"},
		"too much":      {200, strings.Repeat("x", maxAnswer+1), "", "is larger than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/check" {
					t.Errorf("asked for %s", r.URL)
				}
				if c.code == http.StatusFound {
					w.Header().Set("Location", "/login")
				}
				w.WriteHeader(c.code)
				io.WriteString(w, c.answer)
			}))
			defer s.Close()
			v, message, err := NewExternal().Ask(t.Context(), v1alpha1.ExternalGate{URL: s.URL + "/check"})
			check(t, v, message, err, c.want, c.message)
			if len(message) > 400 {
				t.Errorf("the message has %d bytes", len(message))
			}
		})
	}
}

// TestNoAnswer: whoever does not answer neither passes nor fails a wave, and nobody waits for long.
func TestNoAnswer(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	gone := s.URL
	s.Close()
	for _, g := range []v1alpha1.ExternalGate{{URL: gone + "/check"}, {URL: gone, Query: "up", Max: "1"}} {
		v, message, err := NewExternal().Ask(t.Context(), g)
		check(t, v, message, err, "", "no answer from 127.0.0.1:")
		check(t, v, message, err, "", "NetworkPolicy tulle-operator")
	}
	v, message, err := NewExternal().Ask(t.Context(), v1alpha1.ExternalGate{URL: "http://a b/"})
	check(t, v, message, err, "", "the URL can't be asked")
	v, message, err = NewExternal().Ask(t.Context(), v1alpha1.ExternalGate{URL: gone, Query: "up", Max: "much"})
	check(t, v, message, err, "", `max "much" is not a number`)

	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hangs.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	v, message, err = NewExternal().Ask(ctx, v1alpha1.ExternalGate{URL: hangs.URL})
	check(t, v, message, err, "", "context deadline exceeded")
	if d := NewExternal().Client.Timeout; d != 10*time.Second {
		t.Errorf("it waits for %v", d)
	}
}
