// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tulle.dev/tulle/hack/cluster/addon"
	"tulle.dev/tulle/hack/cluster/host"
	"tulle.dev/tulle/hack/cluster/layout"
	"tulle.dev/tulle/hack/internal/parts"
)

// options are the flags that all verbs have.
type options struct {
	name  string
	index int
	state string
	cache string
}

func say(line string) { fmt.Println(line) }

// layout is where the cluster is, from the flags and, for the range, from the
// record of the cluster if there is one.
func (o *options) layout() (layout.Layout, error) {
	state := o.state
	if state == "" {
		base := os.Getenv("XDG_STATE_HOME")
		if base == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return layout.Layout{}, fmt.Errorf("find the home folder: %w", err)
			}
			base = filepath.Join(home, ".local", "state")
		}
		state = filepath.Join(base, "tulle", o.name)
	}
	state, err := filepath.Abs(state)
	if err != nil {
		return layout.Layout{}, fmt.Errorf("find the state folder: %w", err)
	}
	l, err := layout.New(o.name, max(o.index, 0), state)
	if err != nil {
		return layout.Layout{}, err
	}
	r, ok, err := host.ReadRecord(l)
	if err != nil || !ok {
		return l, err
	}
	if r.Name != o.name {
		return layout.Layout{}, fmt.Errorf("state folder %s belongs to cluster %q", state, r.Name)
	}
	if o.index >= 0 && o.index != r.Range {
		return layout.Layout{}, fmt.Errorf("cluster %s has range %d, not %d: run `down` first", o.name, r.Range, o.index)
	}
	return layout.New(o.name, r.Range, state)
}

func (o *options) builder() (*parts.Builder, error) {
	repo, err := parts.FindRepo()
	if err != nil {
		return nil, err
	}
	cache := o.cache
	if cache == "" {
		if cache, err = parts.CacheDir(); err != nil {
			return nil, err
		}
	}
	return &parts.Builder{Repo: repo, Cache: cache, Progress: say}, nil
}

// addons finds the add-ons of a comma-separated list; "none" is none.
func addons(list string) ([]addon.Addon, error) {
	var found []addon.Addon
	for name := range strings.SplitSeq(list, ",") {
		if name == "" || name == "none" {
			continue
		}
		a, err := addon.Find(name)
		if err != nil {
			return nil, err
		}
		found = append(found, a)
	}
	return found, nil
}

// target is the cluster as add-ons see it.
func target(b *parts.Builder, l layout.Layout) addon.Cluster {
	return addon.Cluster{
		Repo:    b.Repo,
		Kubectl: []string{filepath.Join(l.Bin(), "kk"), "kubectl", "--kubeconfig", l.Kubeconfig()},
		DNSIP:   l.DNSIP().String(),
		Load: func(ctx context.Context, p parts.Part) (string, error) {
			return loadPart(ctx, b, l, p, "")
		},
	}
}

// live is the layout of a cluster that must be running.
func (o *options) live() (layout.Layout, error) {
	l, err := o.layout()
	if err != nil {
		return layout.Layout{}, err
	}
	r, ok, err := host.ReadRecord(l)
	if err != nil {
		return layout.Layout{}, err
	}
	if !ok || !r.Alive() {
		return layout.Layout{}, fmt.Errorf("cluster %s is not up: run `up`", o.name)
	}
	return l, nil
}
