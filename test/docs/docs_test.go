// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package docs checks what the documentation says against the repository:
// files it links to, make targets and commands it names, samples it offers.
package docs

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"tulle.dev/tulle/internal/cli"
)

const root = "../.."

// pages returns every Markdown file of the repository by its path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "out" || d.Name() == "bin" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			body, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			out[path] = string(body)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("only %d pages were found", len(out))
	}
	return out
}

// TestLinks: every relative link leads to a file or folder.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	n := 0
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			n++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d links were found", n)
	}
}

// TestTargets: every "make TARGET" is a target of the Makefile.
func TestTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	mention := regexp.MustCompile("(?m)(?:^|`|KUBECONFIG=\\.\\.\\. )make ([a-z0-9-]+(?: [a-z0-9-]+)*)")
	n := 0
	for page, text := range pages(t) {
		for _, m := range mention.FindAllStringSubmatch(text, -1) {
			for _, target := range strings.Fields(m[1]) {
				n++
				if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).Match(makefile) {
					t.Errorf("%s names the target %q, which the Makefile has not", page, target)
				}
			}
		}
	}
	if n < 8 {
		t.Errorf("only %d targets were found", n)
	}
}

// TestCommands: every "tulle VERB" is a command of the command line.
func TestCommands(t *testing.T) {
	mention := regexp.MustCompile("(?m)(?:`|^ *(?:bin/)?)tulle ((?:proxy |upgrade |ca )?[a-z]+)")
	seen := map[string]bool{}
	for page, text := range pages(t) {
		for _, m := range mention.FindAllStringSubmatch(text, -1) {
			seen[m[1]] = true
			var out, errs bytes.Buffer
			args := append(strings.Fields(m[1]), "--help")
			if code := cli.Main(t.Context(), args, cli.Streams{Out: &out, Err: &errs}); code != 0 || strings.Contains(out.String(), "Available Commands:") {
				t.Errorf("%s names the command %q, which tulle has not: %s", page, m[1], errs.String())
			}
		}
	}
	if len(seen) < 4 {
		t.Errorf("only %v were found", seen)
	}
}

// TestSamples: every YAML file of config/samples is read, and names what the demo and the docs rely on.
func TestSamples(t *testing.T) {
	found := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(root, "config/samples"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		docs := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(body), 4096)
		for {
			u := new(unstructured.Unstructured)
			if err := docs.Decode(&u.Object); err != nil {
				if err.Error() == "EOF" {
					return nil
				}
				t.Errorf("%s: %v", path, err)
				return nil
			}
			if u.GetAPIVersion() == "" || u.GetKind() == "" {
				t.Errorf("%s holds an object without a kind", path)
			}
			found[u.GetKind()+"/"+u.GetName()] = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Mesh/tulle", "Namespace/shop", "Gateway/shop", "HTTPRoute/web", "HTTPRoute/reviews", "Deployment/reviews-v2", "Service/reviews"} {
		if !found[want] {
			t.Errorf("no sample holds %s", want)
		}
	}
}

// TestProofs: every test that these pages name exists, in the folder they name. A test without a folder is in
// the folder that its line named last.
func TestProofs(t *testing.T) {
	for _, page := range []string{"docs/failure-modes.md", "docs/architecture/security.md"} {
		body, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		proof := regexp.MustCompile("`(?:([a-z0-9/]+) )?((?:Test|Fuzz)[A-Za-z0-9]+)`")
		n := 0
		for line := range strings.Lines(string(body)) {
			folder := ""
			for _, m := range proof.FindAllStringSubmatch(line, -1) {
				n++
				if m[1] != "" {
					folder = m[1]
				}
				if folder == "" || !hasTest(t, folder, m[2]) {
					t.Errorf("%s: %q has no %s", page, folder, m[2])
				}
			}
		}
		if n < 50 {
			t.Errorf("%s: only %d proofs were found", page, n)
		}
	}
}

// hasTest tells whether a file of the folder has the test or fuzz target.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		code, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(code, []byte("func "+name+"(t *testing.T)")) || bytes.Contains(code, []byte("func "+name+"(f *testing.F)")) {
			return true
		}
	}
	return false
}
