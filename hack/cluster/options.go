// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"fmt"
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
	// kubernetes is the minor version to run, such as "1.36". If empty, it is the newest.
	kubernetes string
}

func say(line string) { fmt.Println(line) }

func (o *options) layout() (layout.Layout, error) { return host.Find(o.name, o.index, o.state) }

func (o *options) live() (layout.Layout, error) { return host.FindLive(o.name, o.index, o.state) }

func (o *options) builder() (*parts.Builder, error) {
	return parts.NewBuilder(o.cache, say)
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
		Repo:       b.Repo,
		Kubeconfig: l.Kubeconfig(),
		Records:    l.Path("addons"),
		Kubectl:    []string{filepath.Join(l.Bin(), "kk"), "kubectl", "--kubeconfig", l.Kubeconfig()},
		DNSIP:      l.DNSIP().String(),
		Load: func(ctx context.Context, p parts.Part) (string, error) {
			return loadPart(ctx, b, l, p, "")
		},
	}
}
