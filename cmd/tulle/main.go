// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command tulle is the command line of the mesh; see package
// tulle.dev/tulle/internal/cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"tulle.dev/tulle/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
