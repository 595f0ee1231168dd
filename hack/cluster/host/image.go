// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package host

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"tulle.dev/tulle/hack/cluster/layout"
)

// Load imports an archive into containerd, where the kubelet finds its images,
// and returns their names.
func Load(ctx context.Context, l layout.Layout, file string) ([]string, error) {
	snapshotter, err := Snapshotter(l)
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

// Loaded tells whether the node has an image.
func Loaded(ctx context.Context, l layout.Layout, ref string) bool {
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
