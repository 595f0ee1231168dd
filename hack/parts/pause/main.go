// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Pause is the first process of every pod sandbox: it holds the pod's
// namespaces open until it is told to end, and, where the containers of a pod
// share a process namespace, collects the processes that nobody waits for.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 && err != syscall.EINTR {
				break
			}
		}
	}
}
