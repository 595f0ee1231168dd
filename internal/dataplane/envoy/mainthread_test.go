// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestMainThread: a process that computes is busy; one that waits, is stopped or has gone is not.
func TestMainThread(t *testing.T) {
	start := func(argv ...string) *Process {
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return &Process{PID: cmd.Process.Pid}
	}
	within := func(p *Process, want bool) bool {
		var m MainThread
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if m.Busy(p) == want {
				return true
			}
		}
		return false
	}
	loop, sleep := start("sh", "-c", "while :; do :; done"), start("sleep", "60")
	if !within(loop, true) {
		t.Error("a process in a loop is not busy")
	}
	if !within(sleep, false) {
		t.Error("a process that sleeps is busy")
	}
	if err := syscall.Kill(loop.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if !within(loop, false) {
		t.Error("a process that was stopped is busy")
	}
	if new(MainThread).Busy(&Process{}) {
		t.Error("no process is busy")
	}
}

// TestMainThreadTime: processor time since the last look counts, of the same process.
func TestMainThreadTime(t *testing.T) {
	state, ticks, err := parseThread([]byte("7 (envoy) (x y) S 1 7 7 0 -1 4194560 1 0 0 0 120 34 0 0 20 0 9 0 5551 1 2 3\n"))
	if err != nil || state != 'S' || ticks != 154 {
		t.Errorf("%c %d %v", state, ticks, err)
	}
	for _, line := range []string{"", ")", "7 (x) S", "7 (x) S 1 7 7 0 -1 4194560 1 0 0 0 a 34 0"} {
		if _, _, err := parseThread([]byte(line)); err == nil {
			t.Errorf("%q is understood", line)
		}
	}
}
