// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"tulle.dev/tulle/hack/internal/pack"
	"tulle.dev/tulle/hack/internal/parts"
)

// packed is a packed image.
type packed struct{ ref, file string }

// build builds the programs and packs the images of the given names, or all.
func build(ctx context.Context, o *options, names []string) ([]packed, error) {
	chosen, err := choose(names)
	if err != nil {
		return nil, err
	}
	return buildAll(ctx, o, chosen)
}

func buildAll(ctx context.Context, o *options, chosen []image) ([]packed, error) {
	r, err := findRelease(o.release)
	if err != nil {
		return nil, err
	}
	b, err := o.builder()
	if err != nil {
		return nil, err
	}
	var programs []parts.Part
	seen := map[string]bool{}
	for _, i := range chosen {
		for _, p := range i.programsOf(r) {
			if !seen[p.pkg] {
				programs = append(programs, p.part(o.stamp(r), r))
			}
			seen[p.pkg] = true
		}
	}
	built, err := binaries(ctx, b, r, programs)
	if err != nil {
		return nil, err
	}
	var all []packed
	for _, i := range chosen {
		ref, file, err := packOne(ctx, o, r, b.Cache, i, built)
		if err != nil {
			return nil, err
		}
		fmt.Println(ref, file)
		all = append(all, packed{ref, file})
	}
	return all, nil
}

// packOne packs one image. Layers are made in a temporary folder, except
// Envoy's: it is large and never changes, so it stays in the cache.
func packOne(ctx context.Context, o *options, r release, cache string, i image, built map[string]string) (ref, file string, err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", "", fmt.Errorf("make cache: %w", err)
	}
	tmp, err := os.MkdirTemp(cache, "pack-*")
	if err != nil {
		return "", "", fmt.Errorf("make folder for layers: %w", err)
	}
	defer os.RemoveAll(tmp)

	var layers []*pack.Layer
	if i.envoy {
		l, err := envoyLayer(ctx, cache, r.envoy)
		if err != nil {
			return "", "", err
		}
		layers = append(layers, l)
	}
	entries := pack.Base(i.user, i.user)
	for _, p := range i.programsOf(r) {
		entries = append(entries, pack.Entry{Path: p.path, Source: built[p.part("", r).Name]})
	}
	l, err := pack.NewLayer(tmp, entries)
	if err != nil {
		return "", "", err
	}
	tag := o.tag
	switch {
	case tag == "content":
		tag = ""
	case tag == "" && o.release != "":
		tag = r.version
	case tag == "":
		tag = "dev"
	}
	dir := filepath.Join(cache, "images")
	if r.version != currentRelease().version {
		dir = filepath.Join(dir, r.version)
	}
	return pack.Write(dir, pack.Image{
		Repository: cmp.Or(i.repository, "tulle.local/"+i.name),
		Tag:        tag,
		Layers:     append(layers, l),
		Entrypoint: []string{"/" + i.programs[0].path},
		UID:        i.user, GID: i.user,
		Labels: map[string]string{
			"org.opencontainers.image.title":   i.name,
			"org.opencontainers.image.version": o.stamp(r),
		},
	})
}
