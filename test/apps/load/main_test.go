// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tulle.dev/tulle/test/load"
)

// TestExitCodes: 0 without failures, 1 with, 2 when nothing could be sent.
func TestExitCodes(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-A") != "b" || r.Method != http.MethodPost {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer srv.Close()
	for _, c := range []struct {
		want int
		args []string
	}{
		{0, []string{"-url", srv.URL, "-count", "5", "-header", "X-A: b", "-method", "POST", "-json"}},
		{1, []string{"-url", srv.URL, "-count", "5", "-method", "POST"}},
		{2, []string{"-url", "nowhere"}},
		{2, []string{"-url", srv.URL, "5"}},
		{2, []string{"-header", "x"}},
	} {
		var out, errs bytes.Buffer
		if got := run(t.Context(), c.args, &out, &errs); got != c.want {
			t.Errorf("%v: exit %d, %s%s", c.args, got, &out, &errs)
		}
		if c.want == 0 {
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			var s load.Summary
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil || !s.Done || s.OK != 5 {
				t.Errorf("%v: %s", err, &out)
			}
		}
		if c.want == 1 && !strings.Contains(out.String(), "FAILED 5: status 400") {
			t.Errorf("%s", &out)
		}
	}
}
