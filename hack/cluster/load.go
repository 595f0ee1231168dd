// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
				names, err := load(c.Context(), l, file)
				if err != nil {
					return err
				}
				say("loaded " + strings.Join(names, " "))
			}
			return nil
		},
	}
}

// load imports an archive into containerd, where the kubelet finds its images,
// and returns their names.
func load(ctx context.Context, l layout.Layout, file string) ([]string, error) {
	snapshotter, err := host.Snapshotter(l)
	if err != nil {
		return nil, err
	}
	// containerd keeps what it has, so an unchanged layer costs little. --local
	// reads the file here, not in the node, whose /run is another one.
	out, err := ctr(ctx, l, "images", "import", "--local", "--snapshotter", snapshotter, file)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w\n%s", file, err, out)
	}
	var names []string
	for line := range strings.SplitSeq(out, "\n") {
		if fields := strings.Fields(line); len(fields) > 0 && strings.Contains(fields[0], "/") {
			names = append(names, fields[0])
		}
	}
	return names, nil
}

// loaded tells whether the node has an image.
func loaded(ctx context.Context, l layout.Layout, ref string) bool {
	out, err := ctr(ctx, l, "images", "ls", "-q", "name=="+ref)
	return err == nil && strings.TrimSpace(out) == ref
}

func ctr(ctx context.Context, l layout.Layout, args ...string) (string, error) {
	all := append([]string{"--address", l.ContainerdSocket(), "-n", "k8s.io"}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(l.Bin(), "ctr"), all...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
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
	if loaded(ctx, l, ref) {
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
	if _, err := load(ctx, l, file); err != nil {
		return "", err
	}
	return ref, nil
}
