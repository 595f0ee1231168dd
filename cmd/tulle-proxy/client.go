// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"tulle.dev/tulle/internal/dataplane/client"
)

// runClient keeps the files of an application that speaks to the control plane itself.
func runClient(args []string) error {
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	dir := flags.String("dir", "/var/run/tulle", "directory that the application reads")
	check := flags.Bool("check", false, "only tell whether everything has been written, for a startup probe")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *check {
		return client.Ready(*dir)
	}
	s, err := client.FromEnv(os.Getenv, *dir)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return client.Run(ctx, s, slog.New(slog.NewTextHandler(os.Stderr, nil)).With("container", "client"))
}
