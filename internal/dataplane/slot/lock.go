// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slot

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock is an exclusive flock on a file. The kernel gives it up when the process dies, however it dies.
type lock struct{ f *os.File }

// errHeld says that another process holds the lock.
var errHeld = errors.New("held by another process")

// tryLock takes the lock if it is free; errHeld if it is not. The file descriptor is closed on exec,
// so that no child keeps the lock alive after its parent.
func tryLock(path string) (*lock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errHeld
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &lock{f}, nil
}

// release gives the lock up; a nil lock is fine.
func (l *lock) release() {
	if l != nil {
		l.f.Close()
	}
}

// held reports whether some process has the lock. A shared lock is tried, and given back at once.
func held(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
