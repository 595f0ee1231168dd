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
	if _, acts := Overload(0)["actions"]; acts {
		t.Error("without a limit there are actions")
	}
}

// TestConnections: a proxy holds no more connections than its memory has room for.
func TestConnections(t *testing.T) {
	for heap, want := range map[uint64]uint64{0: 50000, 896 << 20: 50000, 96 << 20: 12288, 20 << 20: 2560} {
		if got := connections(heap); got != want {
			t.Errorf("with %d MiB: %d connections, want %d", heap>>20, got, want)
		}
	}
}
