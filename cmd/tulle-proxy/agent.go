// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"

	"tulle.dev/tulle/internal/cgroup"
	"tulle.dev/tulle/internal/dataplane/agent"
	"tulle.dev/tulle/internal/dataplane/slot"
	"tulle.dev/tulle/internal/protocol"
)

func runAgent() error {
	// An agent is idle nearly always and there is one in every pod: memory is worth more than the
	// time to collect it.
	debug.SetGCPercent(30)
	cgroup.LimitHeap(cgroup.Beside)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("container", "agent")
	if err := harden(); err != nil {
		log.Warn("The agent's memory is less protected than usual", "error", err)
	}
	report, err := reporter()
	if err != nil {
		return err
	}
	s, err := agent.FromEnv(os.Getenv)
	if err != nil {
		report(slot.Report{Phase: protocol.PhaseFailed, Message: err.Error()})
		return err
	}
	s.Version, s.EnvoyVersion = version, envoyVersion
	return agent.Run(context.Background(), s, commands(), report, log)
}

// commands are the slot's orders; SIGTERM and SIGINT are taken for the order to stop.
func commands() <-chan slot.Command {
	out := make(chan slot.Command)
	lines := make(chan slot.Command)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(os.Stdin); s.Scan(); {
			lines <- slot.Command(s.Text())
		}
	}()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		defer close(out)
		for {
			select {
			case c, ok := <-lines:
				if !ok {
					return
				}
				out <- c
			case <-signals:
				out <- slot.CommandStop
			}
		}
	}()
	return out
}

// reporter writes reports to the slot, if there is one.
func reporter() (func(slot.Report), error) {
	v := os.Getenv(slot.EnvReport)
	if v == "" {
		return func(slot.Report) {}, nil
	}
	fd, err := strconv.Atoi(v)
	if err != nil {
		return nil, err
	}
	// Envoy must not inherit it: the slot takes its end for the agent's.
	syscall.CloseOnExec(fd)
	out := json.NewEncoder(io.Writer(os.NewFile(uintptr(fd), "report"))) //nolint:gosec // a descriptor
	return func(r slot.Report) { _ = out.Encode(r) }, nil                // a slot that has gone needs no reports
}
