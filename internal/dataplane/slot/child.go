// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slot

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
)

// child is a running agent.
type child struct {
	pid     int
	orders  *os.File    // the agent's standard input
	reports chan Report // closed when the agent closed its end
	gone    chan struct{}
}

// startAgent starts the agent. It is forked without os/exec because the slot itself reaps every
// process of its container, and two waiters would steal each other's results.
func startAgent(path string, env []string) (*child, error) {
	in, orders, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	defer in.Close()
	reports, out, err := os.Pipe()
	if err != nil {
		orders.Close()
		return nil, fmt.Errorf("start agent: %w", err)
	}
	defer out.Close()
	pid, err := syscall.ForkExec(path, []string{path, "agent"}, &syscall.ProcAttr{
		Env:   append(env, EnvReport+"=3"),
		Files: []uintptr{in.Fd(), 1, 2, out.Fd()},
	})
	if err != nil {
		orders.Close()
		reports.Close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	c := &child{pid: pid, orders: orders, reports: make(chan Report), gone: make(chan struct{})}
	go c.read(reports)
	return c, nil
}

// read passes on what the agent says until it has closed its end.
func (c *child) read(from *os.File) {
	defer close(c.reports)
	defer from.Close()
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		var r Report
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue
		}
		select {
		case c.reports <- r:
		case <-c.gone:
			return
		}
	}
}

// tell gives the agent an order. An agent that has died learns it no more, which its death tells the slot anyway.
func (c *child) tell(cmd Command) { fmt.Fprintln(c.orders, cmd) }

// forget frees what belongs to a dead agent.
func (c *child) forget() {
	c.orders.Close()
	close(c.gone)
}

// reap collects the processes that have died and returns them; orphans of a dead agent (its Envoy)
// end here too.
func reap() map[int]syscall.WaitStatus {
	dead := map[int]syscall.WaitStatus{}
	for {
		var s syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &s, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 || err != nil {
			return dead
		}
		dead[pid] = s
	}
}

// adoptOrphans makes this process the parent of orphaned descendants even where it is not pid 1 (pods with
// shareProcessNamespace).
func adoptOrphans() error {
	const prSetChildSubreaper = 36
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); e != 0 {
		return fmt.Errorf("become subreaper: %w", e)
	}
	return nil
}

// ended says in words how a process ended.
func ended(s syscall.WaitStatus) string {
	if s.Signaled() {
		return "killed by " + s.Signal().String()
	}
	return fmt.Sprintf("exited with code %d", s.ExitStatus())
}
