// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command tulle is the manager image's one program. Its first argument is the
// role: operator (one per cluster, reconciles Mesh) or controlplane (one
// Deployment per revision, serves proxies). Flags and wiring only.
package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"tulle.dev/tulle/internal/cgroup"
	"tulle.dev/tulle/internal/lifecycle/release"
)

func main() {
	if err := root().ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "tulle:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	verbosity := 0
	c := &cobra.Command{
		Use:           "tulle",
		Short:         "The operator and the control plane of the Tulle service mesh",
		Version:       release.Current,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			cgroup.LimitHeap(cgroup.Whole)
			level := slog.Level(-verbosity) // logr's V(n) is slog's level -n
			ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
		},
	}
	c.PersistentFlags().IntVarP(&verbosity, "verbosity", "v", 0, "how much to log: 0, or more for debugging")
	c.AddCommand(operatorCommand(), controlplaneCommand())
	return c
}
