// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gate

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"tulle.dev/tulle/api/v1alpha1"
)

// TestRecordedAnswers has the answers that a Prometheus 2.42.0, which scraped itself, gave to these
// queries over HTTP; "out of time" was asked with timeout=0. They are recorded byte by byte, but for
// its port.
func TestRecordedAnswers(t *testing.T) {
	text, err := os.ReadFile("testdata/prometheus.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded []struct {
		Name, Query, Answer string
		Code                int
	}
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	type verdict struct {
		want    v1alpha1.GateVerdict // empty: no answer
		message string
	}
	wants := map[string]verdict{
		"a number":             {v1alpha1.GatePassed, "the query answers 1, at most 2 is allowed"},
		"a scalar":             {v1alpha1.GatePassed, "the query answers 2, at most 2 is allowed"},
		"too much":             {v1alpha1.GateFailed, "the query answers 2.5, more than 2"},
		"nothing":              {v1alpha1.GateNoEvidence, "the query answers nothing"},
		"histogram of nothing": {v1alpha1.GateNoEvidence, "the query answers nothing"},
		"zero by zero, scalar": {v1alpha1.GateNoEvidence, "the query answers NaN"},
		"zero by zero":         {v1alpha1.GateNoEvidence, "the query answers NaN"},
		"one by zero":          {v1alpha1.GateFailed, "the query answers +Inf, more than 2"},
		"very small":           {v1alpha1.GatePassed, "the query answers 1.23457e-09, at most"},
		"broken off":           {"", `Prometheus refuses the query: invalid parameter "query": 1:7: parse error: unclosed left parenthesis`},
		"empty":                {"", "no expression found in input"},
		"a range":              {"", "the query answers a matrix, it must be a number"},
		"a string":             {"", "the query answers a string, it must be a number"},
		"several":              {"", "the query answers 2 values, it must be one: add them up, as with sum(...)"},
		"out of time":          {"", "Prometheus refuses the query: query timed out in query "},
		"can't be evaluated":   {"", "Prometheus refuses the query: found duplicate series for the match group"},
	}
	for _, r := range recorded {
		want, known := wants[r.Name]
		if !known {
			t.Errorf("%s: nothing is expected of it", r.Name)
		}
		delete(wants, r.Name)
		t.Run(r.Name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(r.Code)
				io.WriteString(w, r.Answer)
			}))
			defer s.Close()
			query := r.Query
			if query == "" {
				query = " " // an empty one is none
			}
			v, message, err := NewExternal().Ask(t.Context(), v1alpha1.ExternalGate{URL: s.URL, Query: query, Max: "2"})
			check(t, v, message, err, want.want, want.message)
		})
	}
	for name := range wants {
		t.Errorf("%s is not recorded", name)
	}
}
