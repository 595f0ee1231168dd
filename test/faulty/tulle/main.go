// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command tulle is the control plane of a release with a fault, for tests of upgrades (package faulty). It has
// the role controlplane alone: no operator of these releases ever runs.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"tulle.dev/tulle/internal/cgroup"
	"tulle.dev/tulle/internal/controlplane"
	"tulle.dev/tulle/test/faulty"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "controlplane" {
		fmt.Fprintln(os.Stderr, "usage: tulle controlplane FLAGS")
		os.Exit(2)
	}
	if err := run(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "tulle:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	cgroup.LimitHeap(cgroup.Whole)
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, nil)))
	opts := controlplane.OptionsFrom(os.Getenv)
	flags := flag.NewFlagSet("controlplane", flag.ContinueOnError)
	opts.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 100, 200
	opts.Config, opts.Log, opts.Amend = config, ctrl.Log.WithName("controlplane"), faulty.Amend(opts.Version)
	return controlplane.Run(ctrl.SetupSignalHandler(), opts)
}
