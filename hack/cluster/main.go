// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Cluster runs a whole Kubernetes cluster of one node on this machine: for
// tests, for the demo, and for trying things out. It builds everything from
// pinned Go modules, needs no container daemon and no registry, and cannot send
// a packet off the machine. README.md says how to use it and how it works.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		stop()
		os.Exit(1)
	}
}

func root() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "cluster",
		Short:         "A real Kubernetes cluster of one node on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
		// So that flags before `kubectl` are ours and those after it are not.
		TraverseChildren: true,
	}
	f := c.PersistentFlags()
	f.StringVar(&o.name, "name", "tulle", "name of the cluster")
	f.IntVar(&o.index, "range", -1, "number of its address ranges, 0 to 63 (default: what the cluster was made with, else 0)")
	f.StringVar(&o.state, "state", "", "folder of its files (default $XDG_STATE_HOME/tulle/NAME or ~/.local/state/tulle/NAME)")
	f.StringVar(&o.cache, "cache", "", "folder of built programs (default $XDG_CACHE_HOME/tulle or ~/.cache/tulle)")
	f.StringVar(&o.kubernetes, "kubernetes", os.Getenv("K8S"), "minor version of Kubernetes, 1.37 or 1.36 (default: the environment's K8S, else 1.37)")
	c.AddCommand(
		upCommand(&o), downCommand(&o), statusCommand(&o), loadCommand(&o), logsCommand(&o),
		kubectlCommand(&o), envCommand(&o), addonCommand(&o), buildCommand(&o), failCommand(&o),
		nodeCommand(), loadbalancerCommand(),
	)
	return c
}
