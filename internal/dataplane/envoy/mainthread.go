// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// busyTicks is how much processor time (in ticks of 10 ms) the main thread has used between two looks, about
// a second apart, if it works.
const busyTicks = 5

// MainThread looks at whether Envoy's main thread works. That thread answers the admin interface and takes
// configuration; others serve the traffic. The zero value has not looked yet. For one goroutine.
type MainThread struct {
	pid   int
	ticks uint64
}

// Busy reports whether the main thread of the process runs, waits for a processor, or has used processor
// time since the last look. One that waits for something that does not come is not busy.
func (m *MainThread) Busy(p *Process) bool {
	state, ticks, err := thread(p.PID)
	if err != nil {
		return false
	}
	before := *m
	m.pid, m.ticks = p.PID, ticks
	return state == 'R' || state == 'D' || before.pid == p.PID && ticks >= before.ticks+busyTicks
}

// thread reads the state and the used processor time of the main thread of a process.
func thread(pid int) (state byte, ticks uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", pid, pid))
	if err != nil {
		return 0, 0, err
	}
	return parseThread(b)
}

// parseThread reads a line of /proc/PID/stat, see proc_pid_stat(5).
func parseThread(line []byte) (state byte, ticks uint64, err error) {
	// The second field, in parentheses, is the only one that may have spaces.
	f := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(f) < 13 {
		return 0, 0, fmt.Errorf("%q is not understood", line)
	}
	for _, field := range f[11:13] { // utime and stime
		n, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("%q is not understood: %w", line, err)
		}
		ticks += n
	}
	return f[0][0], ticks, nil
}
