// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"sync"
	"syscall"
	"time"
)

// How this replica's use of CPU is measured: looks this far apart, over this many of them.
const (
	cpuEvery = 5 * time.Second
	cpuLooks = 12
)

// usage is how much CPU this process used lately. Safe for concurrent use.
type usage struct {
	mu    sync.Mutex
	looks []look // guarded by mu; oldest first, at most cpuLooks+1
}

// look is how much CPU the process has used since its start, at some time.
type look struct {
	at   time.Time
	used time.Duration
}

// run looks until the context ends.
func (u *usage) run(ctx context.Context) error {
	tick := time.NewTicker(cpuEvery)
	defer tick.Stop()
	for {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err == nil {
			u.add(look{time.Now(), time.Duration(r.Utime.Nano() + r.Stime.Nano())})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (u *usage) add(l look) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.looks) > cpuLooks {
		u.looks = append(u.looks[:0], u.looks[1:]...)
	}
	u.looks = append(u.looks, l)
}

// cores is the average over the last minute; nil in the first one, which is work that is done once.
func (u *usage) cores() *float64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.looks) <= cpuLooks {
		return nil
	}
	first, last := u.looks[0], u.looks[cpuLooks]
	c := (last.used - first.used).Seconds() / last.at.Sub(first.at).Seconds()
	return &c
}
