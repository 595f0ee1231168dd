// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Images packs the product's and the samples' container images from static
// binaries, without a docker daemon, and loads them into a test cluster.
//
//	images build tulle tulle-proxy   pack into the cache, print the files
//	images load                      pack all, and load them into the cluster
//	images envoy                     fetch Envoy if need be, print its path
//	images check-envoy FILE          compare its pinned hash with Envoy's published checksums
//	images sbom tulle tulle-proxy    write their bills of materials into out/sbom
//	images pin-bases                 write the digests of base images into the Dockerfiles
//	images load --release 0.2.0 tulle tulle-proxy
//	                                 a previous release, tagged with its version
//	images source --release 0.2.0 DIR bundle
//	                                 write files of a previous release into a folder
//	images programs --release 0.2.0 DIR tulle-proxy
//	                                 write the programs of a release's images into a folder
//	images record --release 0.2.0    record, with its sources, what tests compare with
//
// table.go says which images there are; add a line there for a new one.
// release.go says which releases, and previous.go builds one from its commit;
// those of faulty.go are for tests of upgrades alone.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/hack/cluster/host"
	"tulle.dev/tulle/hack/internal/parts"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		stop()
		os.Exit(1)
	}
}

// options are the flags that all verbs have.
type options struct {
	cache, tag, version, release string
	cluster, state               string
}

// stamp is what the programs of a release call themselves.
func (o *options) stamp(r release) string {
	if o.version != "" {
		return o.version
	}
	return r.version
}

func root() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "images", Short: "Pack container images without a docker daemon",
		SilenceUsage: true, SilenceErrors: true,
	}
	f := c.PersistentFlags()
	f.StringVar(&o.cache, "cache", "", "folder of built programs (default $XDG_CACHE_HOME/tulle or ~/.cache/tulle)")
	f.StringVar(&o.release, "release", "", "a previous release, see release.go (default the current one)")
	f.StringVar(&o.tag, "tag", "", "tag of the images; `content` makes it from what is in them (default the --release, or dev)")
	f.StringVar(&o.version, "version", "", "what the programs call themselves (default their release)")
	c.AddCommand(sourceCommand(&o), programsCommand(&o), recordCommand(&o), buildCommand(&o), loadCommand(&o), loadAsCommand(&o), listCommand(), envoyCommand(&o), checkEnvoyCommand(&o), pinBasesCommand(), sbomCommand(&o))
	return c
}

func buildCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "build [NAME...]", Short: "Pack images and print reference and file of each",
		RunE: func(c *cobra.Command, args []string) error {
			_, err := build(c.Context(), o, args)
			return err
		},
	}
}

func loadCommand(o *options) *cobra.Command {
	c := &cobra.Command{
		Use: "load [NAME...]", Short: "Pack images and load them into a test cluster",
		RunE: func(c *cobra.Command, args []string) error {
			l, err := host.FindLive(o.cluster, -1, o.state)
			if err != nil {
				return err
			}
			packed, err := build(c.Context(), o, args)
			if err != nil {
				return err
			}
			return load(c.Context(), l, packed)
		},
	}
	c.Flags().StringVar(&o.cluster, "name", "tulle", "name of the cluster")
	c.Flags().StringVar(&o.state, "state", "", "folder of the cluster's files (see cluster --help)")
	return c
}

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the images there are", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			for _, i := range table() {
				fmt.Printf("%-12s %s\n", i.name, i.about)
			}
			return nil
		},
	}
}

func envoyCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "envoy", Short: "Print the path of the Envoy binary that the proxy image holds", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := o.builder()
			if err != nil {
				return err
			}
			r, err := findRelease(o.release)
			if err != nil {
				return err
			}
			path, err := fetchEnvoy(c.Context(), b.Cache, r.envoy)
			if err != nil {
				return err
			}
			fmt.Println(path)
			return nil
		},
	}
}

func (o *options) builder() (*parts.Builder, error) {
	return parts.NewBuilder(o.cache, say)
}

// say writes progress to standard error: standard output is for results.
func say(line string) { fmt.Fprintln(os.Stderr, line) }

// choose returns the images of the given names, or all.
func choose(names []string) ([]image, error) {
	if len(names) == 0 {
		return table(), nil
	}
	var chosen []image
	for _, n := range names {
		i, ok := find(n)
		if !ok {
			return nil, fmt.Errorf("unknown image %q: there are %s", n, strings.Join(allNames(), ", "))
		}
		chosen = append(chosen, i)
	}
	return chosen, nil
}
