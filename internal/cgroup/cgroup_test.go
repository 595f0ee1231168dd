// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

// TestMemoryLimit reads the limit of a container from either version of cgroups.
func TestMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		file, content string
		want          uint64
	}{
		{"memory.max", "1073741824\n", 1 << 30},
		{"memory.max", "max\n", 0},
		{"memory/memory.limit_in_bytes", "134217728\n", 128 << 20},
		{"memory/memory.limit_in_bytes", "9223372036854771712\n", 0},
		{"other", "1", 0},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, c.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := memoryLimit(dir); got != c.want {
			t.Errorf("%s %q: %d, want %d", c.file, c.content, got, c.want)
		}
	}
}

// TestHeapLimit: a part of the limit, unless there is none or the environment decides.
func TestHeapLimit(t *testing.T) {
	for _, c := range []struct {
		limit       uint64
		environment string
		want        int64
	}{
		{1000, "", 900}, {0, "", 0}, {1000, "off", 0}, {1000, "100MiB", 0},
	} {
		if got := heapLimit(c.limit, Whole, c.environment); got != c.want {
			t.Errorf("of %d with GOMEMLIMIT=%q: %d, want %d", c.limit, c.environment, got, c.want)
		}
	}
	if got := heapLimit(1000, Beside, ""); got != 450 {
		t.Errorf("beside Envoy: %d", got)
	}
}
