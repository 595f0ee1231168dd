// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// api serves recorded answers of an API server: testdata/<case>/<path with dots for slashes>.json.
// What is not recorded is not found. What is asked of namespace mesh-system is
// answered from what was recorded of tulle-system.
// Colons in paths are underscores in file names. spoil replaces strings in the answers, in pairs.
func api(t *testing.T, dir string, spoil ...string) (kubeconfig string) {
	t.Helper()
	change := strings.NewReplacer(spoil...)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews") {
			answerReview(w, r)
			return
		}
		name := strings.NewReplacer("/", ".", ":", "_", "mesh-system", "tulle-system").Replace(strings.Trim(r.URL.Path, "/"))
		if strings.Contains(r.URL.Query().Get("labelSelector"), "!tulle.dev/proxy,tulle.dev/inject") {
			name += ".bare" // the same list, asked for those without a proxy
		}
		body, err := os.ReadFile(filepath.Join("testdata", dir, name+".json"))
		if err != nil {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"` + name + ` is not recorded"}`))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = change.WriteString(w, string(body))
	}))
	t.Cleanup(srv.Close)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"a",
		"clusters":[{"name":"a","cluster":{"server":"` + srv.URL + `"}}],
		"contexts":[{"name":"a","context":{"cluster":"a","user":"a","namespace":"shop"}}],"users":[{"name":"a","user":{}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// answerReview allows everything but cluster roles.
func answerReview(w http.ResponseWriter, r *http.Request) {
	var review struct {
		Kind       string         `json:"kind"`
		APIVersion string         `json:"apiVersion"`
		Spec       map[string]any `json:"spec"`
		Status     struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	attributes, _ := review.Spec["resourceAttributes"].(map[string]any)
	review.Status.Allowed = attributes["resource"] != "clusterroles"
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(review)
}
