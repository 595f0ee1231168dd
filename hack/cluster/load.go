// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/hack/cluster/host"
	"tulle.dev/tulle/hack/cluster/layout"
	"tulle.dev/tulle/hack/internal/pack"
	"tulle.dev/tulle/hack/internal/parts"
)

func loadCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "load IMAGE.tar...",
		Short: "Load images (docker or OCI archives) into the node",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := o.live()
			if err != nil {
				return err
			}
			for _, file := range args {
				names, err := host.Load(c.Context(), l, file)
				if err != nil {
					return err
				}
				say("loaded " + strings.Join(names, " "))
			}
			return nil
		},
	}
}

// loadPart packs a part's binary as an image and loads it. Without a tag, the
// image's own digest is its tag.
func loadPart(ctx context.Context, b *parts.Builder, l layout.Layout, p parts.Part, tag string) (string, error) {
	built, err := b.Build(ctx, []parts.Part{p})
	if err != nil {
		return "", err
	}
	if tag == "" {
		// The binary's name in the cache ends in its key.
		tag = built[p.Name][len(built[p.Name])-16:]
	}
	ref := "tulle.local/" + p.Name + ":" + tag
	if host.Loaded(ctx, l, ref) {
		return ref, nil
	}
	tmp, err := os.MkdirTemp(b.Cache, "pack-*")
	if err != nil {
		return "", fmt.Errorf("make folder for the image: %w", err)
	}
	defer os.RemoveAll(tmp)
	const nonroot = 65532
	entries := append(pack.Base(nonroot, nonroot), pack.Entry{Path: p.Name, Source: built[p.Name]})
	layer, err := pack.NewLayer(tmp, entries)
	if err != nil {
		return "", err
	}
	ref, file, err := pack.Write(tmp, pack.Image{
		Repository: "tulle.local/" + p.Name, Tag: tag, Layers: []*pack.Layer{layer},
		Entrypoint: []string{"/" + p.Name}, UID: nonroot, GID: nonroot,
	})
	if err != nil {
		return "", err
	}
	if _, err := host.Load(ctx, l, file); err != nil {
		return "", err
	}
	return ref, nil
}
