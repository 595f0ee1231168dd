// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import "testing"

// TestHeapLimit: something of the limit is left to the agent, and most to Envoy.
func TestHeapLimit(t *testing.T) {
	for limit, want := range map[uint64]uint64{0: 0, 1 << 30: 896 << 20, 128 << 20: 96 << 20, 40 << 20: 20 << 20} {
		if got := heapLimit(limit); got != want {
			t.Errorf("of %d MiB: %d MiB, want %d", limit>>20, got>>20, want>>20)
		}
	}
	if _, acts := Overload(0, 0)["actions"]; acts {
		t.Error("without a limit there are actions")
	}
}

// TestConnections: a proxy holds no more connections than its memory and its file descriptors have room for.
func TestConnections(t *testing.T) {
	for _, c := range []struct{ heap, files, want uint64 }{
		{0, 0, 50000},
		{896 << 20, 1 << 20, 50000},
		{96 << 20, 1 << 20, 12288},
		{20 << 20, 0, 2560},
		{896 << 20, 20000, 5000},
		{0, 1024, 256},
		{20 << 20, 4096, 1024},
	} {
		if got := connections(c.heap, c.files); got != c.want {
			t.Errorf("with %d MiB and %d files: %d connections, want %d", c.heap>>20, c.files, got, c.want)
		}
	}
	if n := FileLimit(); n > 0 && n < 256 {
		t.Errorf("this process may open %d files", n)
	}
}
