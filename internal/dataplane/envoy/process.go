// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options are how an Envoy is run.
type Options struct {
	Binary    string // path of Envoy
	Dir       string // the slot's directory: bootstrap and pid file go there
	Bootstrap []byte
	// Concurrency is the number of worker threads; 0 means 1.
	Concurrency int
	// LogLevel is Envoy's; empty means warning.
	LogLevel string
	// Drain is how long a graceful drain takes; rounded up to seconds.
	Drain time.Duration
}

// Process is a running Envoy.
type Process struct {
	// PID of Envoy.
	PID int
	// Adopted tells that it was started by a former agent.
	Adopted bool

	done chan struct{}
	how  string // how it ended; read after done
}

// pidFile holds the pid and the start time of the Envoy of this slot.
const pidFile = "envoy.pid"

// Start starts an Envoy. There must be none in the slot already, see Adopt.
func Start(o Options) (*Process, error) {
	config := filepath.Join(o.Dir, "bootstrap.json")
	if err := os.WriteFile(config, o.Bootstrap, 0o600); err != nil {
		return nil, fmt.Errorf("write bootstrap: %w", err)
	}
	level := o.LogLevel
	if level == "" {
		level = "warning"
	}
	cmd := exec.Command(o.Binary, //nolint:gosec // a fixed path and the control plane's numbers
		"--config-path", config,
		"--concurrency", strconv.Itoa(max(o.Concurrency, 1)),
		"--log-level", level,
		"--disable-hot-restart",
		"--drain-time-s", strconv.Itoa(int((o.Drain+time.Second-1)/time.Second)),
		// All clients are told at once: a pod's end is shorter than a gradual drain.
		"--drain-strategy", "immediate",
	)
	if level == "warning" {
		// Each listener would have a line about a setting that Envoy calls unfinished (any method of HTTP/1.1).
		cmd.Args = append(cmd.Args, "--component-log-level", "misc:error")
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr // not through the agent: Envoy outlives it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Envoy: %w", err)
	}
	p := &Process{PID: cmd.Process.Pid, done: make(chan struct{})}
	started, err := startTime(p.PID)
	if err == nil {
		err = os.WriteFile(filepath.Join(o.Dir, pidFile), fmt.Appendf(nil, "%d %s\n", p.PID, started), 0o600)
	}
	go func() {
		defer close(p.done)
		p.how = "exited with code 0"
		if err := cmd.Wait(); err != nil {
			p.how = err.Error()
		}
	}()
	if err != nil {
		// Without the file an agent after this one would start a second Envoy.
		p.Kill()
		return nil, fmt.Errorf("note the pid of Envoy: %w", err)
	}
	return p, nil
}

// Adopt finds the Envoy that a former agent left running in the slot's directory; nil if there is none.
func Adopt(dir string) *Process {
	b, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil {
		return nil
	}
	f := strings.Fields(string(b))
	if len(f) != 2 {
		return nil
	}
	pid, err := strconv.Atoi(f[0])
	if err != nil {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	// Read after the descriptor was got: if the start time is right, the descriptor is that process's.
	if started, err := startTime(pid); err != nil || started != f[1] {
		unix.Close(fd)
		return nil
	}
	p := &Process{PID: pid, Adopted: true, done: make(chan struct{}), how: "ended (it was started by a former agent)"}
	go func() {
		defer close(p.done)
		defer unix.Close(fd)
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1) //nolint:gosec // descriptors fit
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return p
}

// startTime reads when a process started, in clock ticks since boot: with the pid it names the process
// for good. A dead process that was not waited for has none.
func startTime(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The second field, in parentheses, is the only one that may have spaces.
	_, rest, _ := bytes.Cut(b[bytes.LastIndexByte(b, ')'):], []byte(" "))
	f := strings.Fields(string(rest))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return f[19], nil
}

// Done is closed when Envoy has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// How tells how Envoy ended; call it after Done.
func (p *Process) How() string { return p.how }

// Stop ends Envoy with SIGTERM, and with SIGKILL if it has not gone after the time.
func (p *Process) Stop(after time.Duration) {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(after):
		p.Kill()
	}
}

// Kill ends Envoy at once and waits for it.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

func (p *Process) signal(s syscall.Signal) {
	select {
	case <-p.done: // the pid may be another process's by now
	default:
		_ = syscall.Kill(p.PID, s) // it may just have ended
	}
}
