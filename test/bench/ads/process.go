// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child: it reads commands, a line each, and answers each with a
// line of JSON. It ends when its input ends.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(ctx context.Context, role string, s settings) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), "TULLE_BENCH_ROLE="+role, "TULLE_BENCH_SETTINGS="+string(b))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	return &process{cmd, in, bufio.NewReader(out)}, nil
}

func (p *process) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

func (p *process) read(v any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("a child ended: %w", err)
	}
	return json.Unmarshal(line, v)
}

func (p *process) ask(command string, v any) error {
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return p.read(v)
}

// child runs one role until its input ends.
func child(role string) error {
	var s settings
	if err := json.Unmarshal([]byte(os.Getenv("TULLE_BENCH_SETTINGS")), &s); err != nil {
		return err
	}
	answer := json.NewEncoder(os.Stdout)
	var command func(fields []string) (any, error)
	var err error
	switch role {
	case "server":
		command, err = serve(s, answer)
	case "clients":
		command, err = load(s, answer)
	default:
		err = errors.New("unknown role")
	}
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		v, err := command(strings.Fields(lines.Text()))
		if err != nil {
			return err
		}
		if err := answer.Encode(v); err != nil {
			return err
		}
	}
	return lines.Err()
}

// usage of a process so far.
type usage struct {
	CPU       time.Duration
	RSS, Heap int64
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// measureUsage takes the time first: collecting garbage costs some.
func measureUsage() (usage, error) {
	u := usage{CPU: cpuTime()}
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Heap = int64(m.HeapAlloc) //nolint:gosec // bytes of memory fit
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return u, err
			}
			u.RSS = kib * 1024
		}
	}
	return u, nil
}
