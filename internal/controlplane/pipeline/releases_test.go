// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/testing/models"
	"tulle.dev/tulle/internal/testing/xdsyaml"
)

// before is what the previous release made of the golden cases of the translation: of each resource its
// version, and a hash of what it says. "bin/images record" writes it, by running this test in the sources of
// that release.
const before = "testdata/versions-0.2.0.txt"

var record = flag.String("record", "", "write what this release makes of its golden cases into that file")

// line is a resource of a golden case.
type line struct{ version, says string }

// TestVersionsOverReleases: control planes of two releases give a resource the same version exactly
// if they say the same with it. A version too many makes every proxy take all it has once more while
// the control plane is upgraded; one too few leaves it with what it had.
func TestVersionsOverReleases(t *testing.T) {
	now := versions(t)
	if *record != "" {
		if err := os.WriteFile(*record, write(now), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	then := read(t)
	same, changed := 0, 0
	for key, n := range now {
		old, ok := then[key]
		if !ok {
			continue // a case, or what goes into it, is new
		}
		if (old.says == n.says) != (old.version == n.version) {
			t.Errorf("%s: the same content: %v, the same version: %v", key, old.says == n.says, old.version == n.version)
		}
		if old.says == n.says {
			same++
		} else {
			changed++
		}
	}
	t.Logf("%d resources are the same in both releases, %d differ", same, changed)
	if same < 50 || changed < 10 {
		t.Errorf("%d are the same, %d differ: do these still compare anything?", same, changed)
	}
}

// versions translates every golden case. A key has a hash of the case, so that a changed case is a new one.
func versions(t *testing.T) map[string]line {
	t.Helper()
	cases, err := filepath.Glob(filepath.Join("..", "envoy", "testdata", "*", "in.yaml"))
	if err != nil || len(cases) < 15 {
		t.Fatalf("only %d cases found, %v", len(cases), err)
	}
	out := map[string]line{}
	for _, file := range cases {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(file)) + "@" + xds.VersionOf(text)
		models.Decode(t, text).Each(func(made envoy.Resource, from any) {
			says, err := xdsyaml.Encode([]envoy.Resource{made})
			if err != nil {
				t.Fatal(err)
			}
			r := resource(made, from)
			key := fmt.Sprintf("%s %s %s", name, made.TypeURL[strings.LastIndexByte(made.TypeURL, '.')+1:], made.Name)
			out[key] = line{r.Version, xds.VersionOf(says)}
		})
	}
	return out
}

func write(all map[string]line) []byte {
	var b bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintln(&b, key, all[key].version, all[key].says)
	}
	return b.Bytes()
}

func read(t *testing.T) map[string]line {
	t.Helper()
	text, err := os.ReadFile(before)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]line{}
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) != 5 {
			t.Fatalf("%s: %q", before, s.Text())
		}
		out[strings.Join(f[:3], " ")] = line{f[3], f[4]}
	}
	return out
}
