// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"tulle.dev/tulle/hack/cluster/host"
	"tulle.dev/tulle/hack/internal/pack"
	"tulle.dev/tulle/hack/internal/parts"
)

// user is what OLM's programs run as.
const user = 1001

// programs is a layer with everything of OLM.
func programs(ctx context.Context, e *environment, dir string) (*pack.Layer, error) {
	built, err := e.builder.Build(ctx, parts.OLM())
	if err != nil {
		return nil, err
	}
	entries := pack.Base(user, user)
	for _, name := range []string{"olm", "catalog", "cpb", "opm"} {
		entries = append(entries, pack.Entry{Path: "bin/" + name, Source: built[name]})
	}
	for _, name := range []string{"cp", "grpc_health_probe"} {
		entries = append(entries, pack.Entry{Path: "bin/" + name, Source: built["olm-tools"]})
	}
	return pack.NewLayer(dir, entries)
}

// load packs an image, loads it into the node, and returns its reference.
func load(ctx context.Context, e *environment, dir string, i pack.Image) (string, error) {
	i.UID, i.GID = user, user
	ref, file, err := pack.WriteByDigest(dir, i)
	if err != nil {
		return "", err
	}
	if host.Loaded(ctx, e.layout, ref) {
		return ref, nil
	}
	if _, err := host.Load(ctx, e.layout, file); err != nil {
		return "", err
	}
	say("loaded " + ref)
	return ref, nil
}

// files are the files below a folder, put below another one of an image.
func files(from, to string) ([]pack.Entry, error) {
	var entries []pack.Entry
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(from, path)
		entries = append(entries, pack.Entry{Path: filepath.Join(to, name), Source: path, Mode: 0o644})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", from, err)
	}
	return entries, nil
}

// scratch is a folder for what is packed; remove it with the returned function.
func scratch(e *environment) (dir string, remove func(), err error) {
	if err := os.MkdirAll(e.builder.Cache, 0o755); err != nil {
		return "", nil, fmt.Errorf("make cache: %w", err)
	}
	dir, err = os.MkdirTemp(e.builder.Cache, "olm-*")
	if err != nil {
		return "", nil, fmt.Errorf("make folder for images: %w", err)
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}
