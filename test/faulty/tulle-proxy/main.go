// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command tulle-proxy stands before the current release's tulle-proxy in the images of releases with faults
// (package faulty), and does what that does. Beside an agent it leaves a process of its own, which passes on
// the slot's orders and ends Envoy when the release's fault is to show.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tulle.dev/tulle/internal/dataplane/agent"
	"tulle.dev/tulle/internal/dataplane/envoy"
	"tulle.dev/tulle/internal/dataplane/slot"
	"tulle.dev/tulle/test/faulty"
)

// version is stamped at build time.
var version = "dev"

// released is where the image has the program that this one stands before.
const released = "/released/tulle-proxy"

// beside is the command of the process beside an agent.
const beside = "beside-agent"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tulle-proxy of a release with a fault:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 1 && args[0] == beside {
		s, err := agent.FromEnv(os.Getenv)
		if err != nil {
			return err
		}
		return interfere(version, s.Dir, os.Stdin, os.Stdout)
	}
	if len(args) > 0 && args[0] == "agent" && (version == faulty.Crashing || version == faulty.Cutting) {
		if err := interpose(); err != nil {
			return err
		}
	}
	return syscall.Exec(released, append([]string{released}, args...), os.Environ())
}

// interpose makes the standard input of this process, and of what it becomes, that of another process, which
// reads what this one would have read.
func interpose() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	// The slot takes the end of the report for the agent's: the other process must not hold it.
	if fd, err := strconv.Atoi(os.Getenv(slot.EnvReport)); err == nil {
		syscall.CloseOnExec(fd)
		defer func() { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0) }()
	}
	c := exec.Command("/proc/self/exe", beside)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, w, os.Stderr
	if err := c.Start(); err != nil {
		return err
	}
	return syscall.Dup3(int(r.Fd()), 0, 0)
}

// interfere passes the slot's orders on, and ends the Envoy of a slot's directory as the release does.
func interfere(release, dir string, orders io.Reader, agent io.Writer) error {
	if release == faulty.Crashing {
		go crash(dir)
	}
	for lines := bufio.NewScanner(orders); lines.Scan(); {
		if _, err := fmt.Fprintln(agent, lines.Text()); err != nil {
			return nil // the agent has ended
		}
		if release == faulty.Cutting && slot.Command(lines.Text()) == slot.CommandHandover {
			time.Sleep(300 * time.Millisecond) // the agent closes its listeners
			if p := envoy.Adopt(dir); p != nil {
				p.Kill()
			}
		}
	}
	return nil
}

// crash ends each Envoy of a slot's directory two seconds after it was started.
func crash(dir string) {
	for {
		if p := envoy.Adopt(dir); p != nil {
			time.Sleep(2 * time.Second)
			p.Kill()
		}
		time.Sleep(50 * time.Millisecond)
	}
}
