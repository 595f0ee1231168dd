// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tulle.dev/tulle/hack/internal/parts"
)

// TestPrevious: a program of a previous release is what its commit says and not what the tree says, and building
// it changes nothing of the tree and leaves nothing in git's list, also after a run that was interrupted. Once
// it is built, neither git nor the commit is needed.
func TestPrevious(t *testing.T) {
	repo, run := repository(t)
	r := release{version: "0.1.0", commit: run("git", "rev-parse", "HEAD"), envoy: wheel{version: "1"}}
	write(t, repo, "main.go", "package main\n\nvar version string\n\nfunc main() { println(\"today\", version) }\n")
	run("git", "commit", "-qam", "today")
	write(t, repo, "main.go", "package main\n\nvar version string\n\nfunc main() { println(\"not committed\") }\n")
	before := run("git", "status", "--porcelain") + run("git", "worktree", "list") + run("git", "rev-parse", "HEAD")

	cache := t.TempDir()
	b := &parts.Builder{Repo: repo, Cache: cache, Progress: func(line string) { t.Log(line) }}
	part := program{"tool", ".", "."}.part(r.version, r)

	// What an interrupted run leaves: a folder that git lists, and one that it does not.
	var left string
	if err := inWorktree(t.Context(), repo, cache, r, func(dir string) error { left = dir; return nil }); err != nil {
		t.Fatal(err)
	}
	run("git", "worktree", "add", "-q", "--detach", left, r.commit)
	hook := filepath.Join(repo, ".git", "hooks", "post-checkout")
	write(t, repo, ".git/hooks/post-checkout", "#!/bin/sh\ntouch "+repo+"/hooked\n")
	if err := os.Chmod(hook, 0o755); err != nil {
		t.Fatal(err)
	}
	built, err := binaries(t.Context(), b, r, []parts.Part{part})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(left, "half"), 0o755); err != nil {
		t.Fatal(err)
	}
	other := part
	other.Name += "-other"
	if _, err := binaries(t.Context(), b, r, []parts.Part{other}); err != nil {
		t.Fatal(err)
	}

	out, err := exec.Command(built[part.Name]).CombinedOutput()
	if err != nil || string(out) != "then 0.1.0\n" {
		t.Errorf("the program says %q, %v", out, err)
	}
	if after := run("git", "status", "--porcelain") + run("git", "worktree", "list") + run("git", "rev-parse", "HEAD"); after != before {
		t.Errorf("the repository changed from\n%s\nto\n%s", before, after)
	}
	if _, err := os.Stat(left); err == nil {
		t.Errorf("%s is still there", left)
	}

	files := t.TempDir()
	if err := source(t.Context(), repo, r, files, []string{"main.go", "hack"}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(files, "main.go")); err != nil || !strings.Contains(string(text), "then") {
		t.Errorf("main.go of the release: %q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(files, "hack/parts/runtime/go.mod")); err != nil {
		t.Error(err)
	}
	if err := source(t.Context(), repo, r, files, []string{"bundle"}); err == nil || !strings.Contains(err.Error(), "bundle") {
		t.Errorf("files that it does not have: %v", err)
	}

	if err := os.RemoveAll(filepath.Join(repo, ".git")); err != nil {
		t.Fatal(err)
	}
	if again, err := binaries(t.Context(), b, r, []parts.Part{part}); err != nil || again[part.Name] != built[part.Name] {
		t.Errorf("from the cache: %v, %v", again, err)
	}
	stamped := part
	stamped.LDFlags += "x"
	if _, err := binaries(t.Context(), b, r, []parts.Part{stamped}); err == nil || !strings.Contains(err.Error(), "is not a git repository") {
		t.Errorf("other flags, without a repository: %v", err)
	}
}

// TestMissingCommit: a clone without the commit is told how to fetch it.
func TestMissingCommit(t *testing.T) {
	repo, _ := repository(t)
	r := release{version: "0.1.0", commit: strings.Repeat("a1", 20)}
	err := inWorktree(t.Context(), repo, t.TempDir(), r, func(string) error { t.Error("called"); return nil })
	if want := "git -C " + repo + " fetch --depth=1 origin " + r.commit; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q in it", err, want)
	}
}

// repository makes a git repository with a module, and returns a function that runs commands in it.
func repository(t *testing.T) (dir string, run func(args ...string) string) {
	t.Helper()
	dir = t.TempDir()
	run = func(args ...string) string {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("git", "init", "-q")
	run("git", "config", "user.name", "Test")
	run("git", "config", "user.email", "test@example.com")
	write(t, dir, "go.mod", "module example.com/tool\n\ngo 1.26\n")
	write(t, dir, "main.go", "package main\n\nvar version string\n\nfunc main() { println(\"then\", version) }\n")
	write(t, dir, "hack/parts/runtime/go.mod", "module example.com/runtime\n\ngo 1.26\n")
	run("git", "add", ".")
	run("git", "commit", "-qm", "then")
	return dir, run
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
