// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzTranslate: whatever objects say, nothing panics, model and verdicts agree, and the order of the
// input does not show. The API server's validation is not relied on.
func FuzzTranslate(f *testing.F) {
	cases, err := filepath.Glob("testdata/*/in.yaml")
	if err != nil || len(cases) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, c := range cases {
		in, err := os.ReadFile(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		w, err := readWorld(in, loose)
		if err != nil || len(w.routes)+len(w.gateways) > 50 {
			return
		}
		w.distinct()
		out, told := w.evaluate()
		check(t, w, out, told)
		o, v := w.shuffled(1).evaluate()
		if d := cmp.Diff(string(render(t, out)), string(render(t, o))); d != "" {
			t.Errorf("the order of the input shows in the model:\n%s", d)
		}
		if d := cmp.Diff(string(render(t, told)), string(render(t, v))); d != "" {
			t.Errorf("the order of the input shows in the verdicts:\n%s", d)
		}
	})
}
