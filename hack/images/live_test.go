// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build live

package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tulle.dev/tulle/hack/internal/parts"
)

// Envoy runs from its layer alone, with nothing of this machine but its kernel.
func TestLiveEnvoyRunsFromItsLayer(t *testing.T) {
	for _, r := range releases() {
		t.Run(r.envoy.version, func(t *testing.T) { runsFromItsLayer(t, r) })
	}
}

func runsFromItsLayer(t *testing.T, r release) {
	t.Helper()
	cache, err := parts.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := envoyLayer(t.Context(), cache, r.envoy)
	if err != nil {
		t.Fatal(err)
	}
	content, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	root := t.TempDir()
	files := extract(t, content, root)
	// Envoy, its license, and six files of the C library.
	if files != 8 {
		t.Errorf("the layer holds %d files, want 8", files)
	}
	cmd := exec.Command("/"+envoyInImage, "--version")
	cmd.Dir = "/"
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "/"+r.envoy.version+"/") {
		t.Errorf("envoy --version in the layer: %v\n%s", err, out)
	}
	// Without its C library it must not run, else this test proves nothing.
	if err := os.RemoveAll(filepath.Join(root, "lib")); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command("/"+envoyInImage, "--version")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if cmd.Run() == nil {
		t.Error("Envoy runs without its C library: the test does not see what it should")
	}
}

// The bills of the published images have every module of their programs, and the programs' hashes.
func TestLiveBill(t *testing.T) {
	cache, err := parts.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	b, err := parts.NewBuilder(cache, say)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tulle", "tulle-proxy"} {
		text, err := sbom(t.Context(), &options{}, name)
		if err != nil {
			t.Fatal(err)
		}
		read := readBill(t, text)
		i, _ := find(name)
		for _, p := range i.programs {
			r := currentRelease()
			built, err := b.Build(t.Context(), []parts.Part{p.part(r.version, r)})
			if err != nil {
				t.Fatal(err)
			}
			file := built[p.part(r.version, r).Name]
			if n, absent := missing(t, read, file); p.path != "tulle-slot" && n == 0 || len(absent) > 0 {
				t.Errorf("%s: of %d modules of %s are absent: %v", name, n, p.path, absent)
			}
			sum, err := fileHash(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), sum) {
				t.Errorf("%s: the hash of %s, %s, is not in the bill", name, p.path, sum)
			}
		}
	}
}

func extract(t *testing.T, r io.Reader, root string) (files int) {
	t.Helper()
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, h.Name)
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		files++
		w, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, os.FileMode(h.Mode))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, in); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
