// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command tulle-slot is pid 1 of a proxy slot and its hooks. It is all that runs in the standby slot.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"

	"tulle.dev/tulle/internal/dataplane/slot"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// version is stamped at build time (-ldflags "-X main.version=...").
var version = "dev"

const usage = `usage: tulle-slot VERB
  run      be pid 1 of the slot named by TULLE_SLOT
  hold-start
           init container: return once a slot is ready
  wait     postStart hook of older pods: the same, with a limit
  drain    preStop hook: say that the container is about to end
  hold     ordinary container of a gateway: wait for SIGTERM, then for the proxy's clients to go
  version  print the release`

func main() {
	// The standby has next to no garbage; a small heap is worth more than the time to collect it.
	debug.SetGCPercent(25)
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "tulle-slot "+os.Args[1]+":", err)
		os.Exit(1)
	}
}

func run(verb string) error {
	l := slot.PodLayout()
	me := os.Getenv(protocol.EnvSlot)
	switch verb {
	case "run":
		c := slot.Config{Slot: me, Version: version, Layout: l, Agent: protocol.ProxyCommand, Log: os.Stderr}
		if os.Getenv(protocol.EnvKind) == names.KindSidecar {
			c.StartLimit = slot.StartLimit
		}
		err := slot.Run(c)
		if err != nil {
			explain(err)
		}
		return err
	case "hold-start":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		return slot.Wait(ctx, l, os.Stderr)
	case "wait":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		ctx, cancel := context.WithTimeout(ctx, slot.WaitLimit)
		defer cancel()
		return slot.Wait(ctx, l, os.Stderr)
	case "drain":
		return slot.Drain(l, me)
	case "hold":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		slot.Hold(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(names.PortAgent)), os.Stderr)
		return nil
	case "version":
		fmt.Println(version)
		return nil
	}
	return fmt.Errorf("unknown verb\n%s", usage)
}

// terminationLog is Kubernetes' default terminationMessagePath.
const terminationLog = "/dev/termination-log"

// explain leaves the reason where the kubelet looks for it. Outside Kubernetes there is no such file.
func explain(err error) {
	f, openErr := os.OpenFile(terminationLog, os.O_WRONLY|os.O_TRUNC, 0)
	if openErr != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, err)
}
