// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package node

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// A reaper starts processes and collects every child's end: those it started,
// and the orphans that a first process inherits. It replaces os/exec's Wait,
// which would race with it for the same children.
type reaper struct {
	mu      sync.Mutex
	waiting map[int]chan syscall.WaitStatus // guarded by mu
}

func newReaper() *reaper {
	r := &reaper{waiting: map[int]chan syscall.WaitStatus{}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	go func() {
		for range signals {
			r.collect()
		}
	}()
	return r
}

// start starts a process and returns its pid and where its end will be told.
// The lock is held from before the start until the pid is known, so that an
// end can't be collected in between.
func (r *reaper) start(args []string, attr *os.ProcAttr) (int, <-chan syscall.WaitStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := os.StartProcess(args[0], args, attr)
	if err != nil {
		return 0, nil, err
	}
	ended := make(chan syscall.WaitStatus, 1)
	r.waiting[p.Pid] = ended
	pid := p.Pid
	// Only the handle goes; the process stays ours to collect.
	_ = p.Release()
	return pid, ended, nil
}

func (r *reaper) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 {
			return
		}
		if ended, ok := r.waiting[pid]; ok {
			delete(r.waiting, pid)
			ended <- status
		}
	}
}
