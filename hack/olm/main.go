// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Olm installs the Operator Lifecycle Manager (v0) on a test cluster, and
// offers it bundles of the operator, so that `make test-olm` can do what
// people do with OperatorHub. It is for the embedded cluster (hack/cluster).
//
//	olm up                 build OLM, load its image, install it
//	olm catalog BUNDLE...  offer bundles, the newest last, in a catalog
//	olm down               remove OLM
//	olm scorecard BUNDLE   run operator-sdk's tests on a bundle; no cluster
//
// A bundle is a folder with manifests and metadata, such as bundle/ at the top
// of the repository. All of OLM's programs are in one image; images are known
// by digest, because OLM has tags pulled each time and there is no registry.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/hack/cluster/host"
	"tulle.dev/tulle/hack/cluster/layout"
	"tulle.dev/tulle/hack/internal/parts"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "olm:", err)
		stop()
		os.Exit(1)
	}
}

// options are the flags that all verbs have.
type options struct{ cluster, state, cache string }

func root() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "olm", Short: "The Operator Lifecycle Manager on a test cluster",
		SilenceUsage: true, SilenceErrors: true,
	}
	f := c.PersistentFlags()
	f.StringVar(&o.cluster, "name", "tulle", "name of the cluster")
	f.StringVar(&o.state, "state", "", "folder of the cluster's files (see cluster --help)")
	f.StringVar(&o.cache, "cache", "", "folder of built programs (default $XDG_CACHE_HOME/tulle or ~/.cache/tulle)")
	c.AddCommand(
		&cobra.Command{
			Use: "up", Short: "Install OLM and wait until it works", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return o.with(c.Context(), up) },
		},
		&cobra.Command{
			Use: "down", Short: "Remove OLM", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return o.with(c.Context(), down) },
		},
		&cobra.Command{
			Use: "catalog BUNDLE...", Short: "Offer bundles, the newest last, in the catalog \"test\" of namespace olm", Args: cobra.MinimumNArgs(1),
			RunE: func(c *cobra.Command, bundles []string) error {
				return o.with(c.Context(), func(ctx context.Context, e *environment) error { return offer(ctx, e, bundles) })
			},
		},
		&cobra.Command{
			Use: "scorecard BUNDLE", Short: "Run operator-sdk's tests on a bundle", Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				b, err := o.builder()
				if err != nil {
					return err
				}
				return scorecard(c.Context(), b, args[0])
			},
		},
	)
	return c
}

// environment is what the verbs work with.
type environment struct {
	builder *parts.Builder
	layout  layout.Layout
}

func (o *options) with(ctx context.Context, do func(context.Context, *environment) error) error {
	b, err := o.builder()
	if err != nil {
		return err
	}
	l, err := host.FindLive(o.cluster, -1, o.state)
	if err != nil {
		return err
	}
	return do(ctx, &environment{builder: b, layout: l})
}

func (o *options) builder() (*parts.Builder, error) {
	return parts.NewBuilder(o.cache, say)
}

// say writes progress to standard error: standard output is for results.
func say(line string) { fmt.Fprintln(os.Stderr, line) }
