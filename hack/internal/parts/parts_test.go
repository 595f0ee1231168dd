// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package parts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module writes a small module and returns its repository.
func module(t *testing.T) (repo string, p Part) {
	t.Helper()
	repo = t.TempDir()
	p = Part{Name: "x", Dir: "m", Package: "."}
	if err := os.MkdirAll(filepath.Join(repo, "m"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"go.mod": "module m", "go.sum": "", "main.go": "package main", "README.md": "", "main_test.go": "package main"} {
		put(t, filepath.Join(repo, "m", name), text)
	}
	return repo, p
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func key(t *testing.T, repo string, p Part, version string) string {
	t.Helper()
	k, err := Key(repo, p, version)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The key changes with everything that goes into a build, and with nothing else.
func TestKey(t *testing.T) {
	repo, p := module(t)
	first := key(t, repo, p, "go1.26.8")
	if len(first) != 16 {
		t.Errorf("key %q", first)
	}
	file := func(name string) string { return filepath.Join(repo, "m", name) }
	put(t, file("README.md"), "changed")
	put(t, file("main_test.go"), "package main // changed")
	if key(t, repo, p, "go1.26.8") != first {
		t.Error("a file that is not built changes the key")
	}
	if key(t, repo, p, "go1.26.9") == first {
		t.Error("another Go has the same key")
	}
	for about, change := range map[string]func(*Part){
		"flags": func(p *Part) { p.LDFlags = "-X a=b" }, "tags": func(p *Part) { p.Tags = "a" }, "package": func(p *Part) { p.Package = "./y" },
	} {
		q := p
		change(&q)
		if key(t, repo, q, "go1.26.8") == first {
			t.Errorf("other %s have the same key", about)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "main.go", "new.go"} {
		before := key(t, repo, p, "go1.26.8")
		put(t, file(name), "package main // changed")
		if key(t, repo, p, "go1.26.8") == before {
			t.Errorf("a changed %s has the same key", name)
		}
	}
	other := p
	other.ModFile = "other.mod"
	put(t, file("other.mod"), "module m")
	put(t, file("other.sum"), "")
	before := key(t, repo, other, "go1.26.8")
	if before == key(t, repo, p, "go1.26.8") {
		t.Error("another module file has the same key")
	}
	put(t, file("go.mod"), "module m // changed again")
	if key(t, repo, other, "go1.26.8") != before {
		t.Error("a module file that is not used changes the key")
	}
	put(t, file("other.sum"), "changed")
	if key(t, repo, other, "go1.26.8") == before {
		t.Error("changed sums have the same key")
	}
	p.Dir = "nowhere"
	if _, err := Key(repo, p, "go1.26.8"); err == nil {
		t.Error("a module that is not there has a key")
	}
}

// Build builds once, keeps the result, and builds again for another key.
func TestBuildKeeps(t *testing.T) {
	repo, p := module(t)
	put(t, filepath.Join(repo, "m", "go.mod"), "module m\n\ngo 1.26\n")
	put(t, filepath.Join(repo, "m", "main.go"), "package main\n\nfunc main() {}\n")
	if err := os.MkdirAll(filepath.Join(repo, "hack", "parts", "runtime"), 0o755); err != nil {
		t.Fatal(err)
	}
	var lines []string
	b := &Builder{Repo: repo, Cache: t.TempDir(), Progress: func(l string) { lines = append(lines, l) }}
	p.Title = "the part"
	built, err := b.Build(t.Context(), []Part{p})
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "[1/1] building the part") || !strings.HasPrefix(lines[1], "[1/1] built the part in ") {
		t.Errorf("progress: %q", lines)
	}
	if _, err := b.Build(t.Context(), []Part{p}); err != nil || len(lines) != 2 {
		t.Errorf("built again: %q, %v", lines, err)
	}
	put(t, filepath.Join(repo, "m", "main.go"), "package main\n\nfunc main() { println(1) }\n")
	again, err := b.Build(t.Context(), []Part{p})
	if err != nil || again["x"] == built["x"] || len(lines) != 4 {
		t.Errorf("changed: %v -> %v, %q, %v", built, again, lines, err)
	}
	put(t, filepath.Join(repo, "m", "main.go"), "package main\n\nfunc main() { nonsense }\n")
	_, err = b.Build(t.Context(), []Part{p})
	if err == nil || !strings.Contains(err.Error(), "undefined: nonsense") || !strings.Contains(err.Error(), "the part") {
		t.Errorf("a broken part: %v", err)
	}
}

// The versions that people are shown are the ones that are built.
func TestVersionsAreTheModules(t *testing.T) {
	repo, err := FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ mod, module, version string }{
		{"hack/parts/kube/go.mod", "k8s.io/kubernetes", KubernetesVersion},
		{"hack/parts/kube/" + previousKubernetesModule, "k8s.io/kubernetes", previousKubernetes},
		{"hack/parts/runtime/go.mod", "github.com/containerd/containerd/v2", ContainerdVersion},
		{"hack/parts/runtime/go.mod", "github.com/opencontainers/runc", RuncVersion},
		{"hack/parts/runtime/go.mod", "github.com/containernetworking/plugins", CNIVersion},
		{"hack/parts/dns/go.mod", "github.com/coredns/coredns", CoreDNSVersion},
		{"hack/parts/certmanager/go.mod", "github.com/cert-manager/cert-manager", CertManagerVersion},
		{"hack/parts/olm/go.mod", "github.com/operator-framework/operator-lifecycle-manager", OLMVersion},
		{"hack/parts/scorecard/go.mod", "github.com/operator-framework/operator-sdk", ScorecardVersion},
		{"go.mod", "sigs.k8s.io/gateway-api", GatewayAPIVersion},
	} {
		data, err := os.ReadFile(filepath.Join(repo, c.mod))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), c.module+" v"+c.version) {
			t.Errorf("%s does not require %s v%s", c.mod, c.module, c.version)
		}
	}
}

func TestTable(t *testing.T) {
	repo, err := FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	node, err := Node("")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(append(node, Pause(), CoreDNS(), CertManager(), Scorecard()), OLM()...) {
		if seen[p.Name] {
			t.Errorf("%s is there twice", p.Name)
		}
		seen[p.Name] = true
		if _, err := Key(repo, p, "go1.26"); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if p.Cgo != (len(p.Debian) > 0) {
			t.Errorf("%s: a C compiler is needed with cgo, and only then", p.Name)
		}
	}
}

// TestKubernetesReleases: each release has its own module file, its own key and says its own version; a
// release that is not built here is an error that names those that are.
func TestKubernetesReleases(t *testing.T) {
	repo, err := FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for minor, version := range map[string]string{"1.37": KubernetesVersion, "1.36": previousKubernetes} {
		p, err := kubernetes(minor)
		if err != nil {
			t.Fatal(err)
		}
		args := strings.Join(Args(p, "OUT"), " ")
		if !strings.Contains(args, "gitVersion=v"+version) || !strings.Contains(args, "gitMinor="+strings.TrimPrefix(minor, "1.")+" ") {
			t.Errorf("%s: %s", minor, args)
		}
		if (p.ModFile != "") != strings.Contains(args, "-modfile v1.36.mod") {
			t.Errorf("%s is built with %q: %s", minor, p.ModFile, args)
		}
		k := key(t, repo, p, "go1.27.3")
		if other := keys[k]; other != "" {
			t.Errorf("%s and %s have the same key", minor, other)
		}
		keys[k] = minor
	}
	if p, err := kubernetes(""); err != nil || p.Title != "kubernetes "+KubernetesVersion {
		t.Errorf("the default: %+v, %v", p, err)
	}
	if _, err := Node("1.35"); err == nil || !strings.Contains(err.Error(), "choose 1.37 or 1.36") {
		t.Errorf("1.35: %v", err)
	}
}

func TestMissing(t *testing.T) {
	here := filepath.Join(t.TempDir(), "there")
	put(t, here, "")
	got := Missing([]Debian{
		{Package: "a", Program: "sh"},
		{Package: "b", Program: "no-such-program"},
		{Package: "b", File: "/no/such/file"},
		{Package: "c", File: here},
	})
	if len(got) != 1 || got[0] != "b" {
		t.Errorf("missing %v, want [b]", got)
	}
}

// Without apt-get, or without root, the packages are named and nothing is done.
func TestInstallNamesPackages(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Install(t.Context(), []Debian{{Package: "libsomething-dev", File: "/no/such/file"}}, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "libsomething-dev") {
		t.Errorf("error %v does not name the package", err)
	}
	if err := Install(t.Context(), nil, func(string) {}); err != nil {
		t.Errorf("nothing needed: %v", err)
	}
}
