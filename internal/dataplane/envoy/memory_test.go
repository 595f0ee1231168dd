// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

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

// TestHeapLimit: something of the limit is left to the agent, and most to Envoy.
func TestHeapLimit(t *testing.T) {
	for limit, want := range map[uint64]uint64{0: 0, 1 << 30: 896 << 20, 128 << 20: 96 << 20, 40 << 20: 20 << 20} {
		if got := heapLimit(limit); got != want {
			t.Errorf("of %d MiB: %d MiB, want %d", limit>>20, got>>20, want>>20)
		}
	}
	if _, acts := Overload(0)["actions"]; acts {
		t.Error("without a limit there are actions")
	}
}
