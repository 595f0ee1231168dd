// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const index = `{"modified":"2026-11-01T10:00:00Z"}`

// Without a database nothing is checked, and that is never reported as success.
func TestCheck(t *testing.T) {
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "index"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "index", "db.json"), []byte(index), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good/index/db.json":
			_, _ = w.Write([]byte(index))
		case "/portal/index/db.json":
			_, _ = w.Write([]byte("<html>Please log in</html>"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	found := errors.New("found")
	for name, c := range map[string]struct {
		db          string
		result      error
		ran, passed bool
	}{
		"folder":            {"file://" + folder, nil, true, true},
		"server":            {server.URL + "/good", nil, true, true},
		"vulnerable":        {server.URL + "/good", found, true, false},
		"no folder":         {"file://" + folder + "/none", nil, false, false},
		"no database there": {server.URL + "/none", nil, false, false},
		"another page":      {server.URL + "/portal", nil, false, false},
		"no server":         {"http://127.0.0.1:1", nil, false, false},
	} {
		for _, optional := range []bool{false, true} {
			var out strings.Builder
			ran := false
			err := check(t.Context(), c.db, optional, &out, func(db string) error { ran = true; return c.result })
			if ran != c.ran || strings.Contains(out.String(), "no code with a known") != c.passed {
				t.Errorf("%s: ran %t, %q", name, ran, out.String())
			}
			// An error, but for a database that is missing where the check is optional.
			if want := !c.passed && (c.ran || !optional); (err != nil) != want {
				t.Errorf("%s: %v", name, err)
			}
			if !c.ran && optional && !strings.HasPrefix(out.String(), "not checked: ") {
				t.Errorf("%s: %q", name, out.String())
			}
		}
	}
	if db := database(""); db != publicDatabase {
		t.Errorf("the default is %s", db)
	}
}
