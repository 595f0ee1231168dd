// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// harden keeps the agent's memory, which has the workload's key, from other processes of the same user, for
// example of a container that shares the pod's process namespace, and keeps its and Envoy's memory out of
// core files. Envoy inherits only the latter: the agent itself reads in /proc which sockets Envoy has.
func harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("protect the memory of the process: %w", err)
	}
	return nil
}
