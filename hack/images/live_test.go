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
