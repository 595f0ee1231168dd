// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package cgroup reads the memory limit of the container that the process runs
// in, and keeps the Go heap below it. Standard library only.
package cgroup

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// root is where a container's own cgroup is mounted.
const root = "/sys/fs/cgroup"

// MemoryLimit returns the memory limit of this container in bytes; 0 if it has none, or it can't be read.
func MemoryLimit() uint64 { return memoryLimit(root) }

// memoryLimit reads version 2 or 1, below dir.
func memoryLimit(dir string) uint64 {
	for _, file := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		if err != nil || n >= 1<<60 { // "max", or what version 1 has instead
			return 0
		}
		return n
	}
	return 0
}

// Parts of a container's memory for LimitHeap, in percent.
const (
	// Whole is for the only process of a container: what is left is for stacks of the kernel and mapped files.
	Whole = 90
	// Beside is for an agent beside Envoy, whose heap has a limit of its own: at least half of the memory.
	Beside = 45
)

// LimitHeap sets the memory limit of the Go runtime (GOMEMLIMIT) to a part of the container's, in
// percent: near it garbage is collected more often, before the kernel ends the process. It does nothing
// without a limit, or if the environment sets GOMEMLIMIT. Call it once, at the start.
func LimitHeap(percent int) {
	if n := heapLimit(MemoryLimit(), percent, os.Getenv("GOMEMLIMIT")); n > 0 {
		debug.SetMemoryLimit(n)
	}
}

func heapLimit(limit uint64, percent int, environment string) int64 {
	if environment != "" {
		return 0
	}
	return int64(limit / 100 * uint64(percent)) //nolint:gosec // below 1<<60
}
