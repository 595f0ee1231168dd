// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slot

import (
	"fmt"
	"os"
	"syscall"
)

// watch sends on the channel soon after a file appears in one of the directories or is written or
// renamed there; several changes may come as one. The standby sleeps in it: no polling.
func watch(dirs ...string) (<-chan struct{}, func(), error) {
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
	if err != nil {
		return nil, nil, fmt.Errorf("watch: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	for _, d := range dirs {
		if _, err := syscall.InotifyAddWatch(fd, d, syscall.IN_MOVED_TO|syscall.IN_CREATE|syscall.IN_CLOSE_WRITE|syscall.IN_DELETE); err != nil {
			f.Close()
			return nil, nil, fmt.Errorf("watch %s: %w", d, err)
		}
	}
	changed := make(chan struct{}, 1)
	go func() {
		buf := make([]byte, 4096)
		for {
			if _, err := f.Read(buf); err != nil {
				return
			}
			select {
			case changed <- struct{}{}:
			default: // one is waiting already
			}
		}
	}()
	return changed, func() { f.Close() }, nil
}
