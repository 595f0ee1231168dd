// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/hack/cluster/host"
	"tulle.dev/tulle/hack/cluster/layout"
)

func load(ctx context.Context, l layout.Layout, all []packed) error {
	for _, p := range all {
		begin := time.Now()
		if _, err := host.Load(ctx, l, p.file); err != nil {
			return err
		}
		say(fmt.Sprintf("loaded %s in %s", p.ref, time.Since(begin).Round(10*time.Millisecond)))
	}
	return nil
}

// loadAsCommand packs images under the names that manifests of others give them, so that those
// manifests run unchanged where there is no registry.
func loadAsCommand(o *options) *cobra.Command {
	c := &cobra.Command{
		Use: "load-as REPOSITORY:TAG...", Short: "Pack the images that manifests of others name, and load them under these names", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, refs []string) error {
			l, err := host.FindLive(o.cluster, -1, o.state)
			if err != nil {
				return err
			}
			for _, ref := range refs {
				i, tag, err := other(ref)
				if err != nil {
					return err
				}
				tagged := *o
				tagged.tag = tag
				all, err := buildAll(c.Context(), &tagged, []image{i})
				if err != nil {
					return err
				}
				if err := load(c.Context(), l, all); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&o.cluster, "name", "tulle", "name of the cluster")
	c.Flags().StringVar(&o.state, "state", "", "folder of the cluster's files (see cluster --help)")
	return c
}

// other finds what stands behind a reference, by the last part of its repository.
func other(ref string) (i image, tag string, err error) {
	repository, tag, ok := strings.Cut(ref, ":")
	if !ok || tag == "" || strings.ContainsAny(tag, "/:@") {
		return image{}, "", fmt.Errorf("image %q: want REPOSITORY:TAG", ref)
	}
	all := others()
	n := slices.IndexFunc(all, func(i image) bool { return i.name == path.Base(repository) })
	if n < 0 {
		var names []string
		for _, i := range all {
			names = append(names, i.name)
		}
		return image{}, "", fmt.Errorf("image %q: there is nothing to make it of, only of %s", ref, strings.Join(names, ", "))
	}
	all[n].repository = repository
	return all[n], tag, nil
}
