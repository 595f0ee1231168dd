// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package host

import (
	"fmt"
	"os"
	"path/filepath"

	"tulle.dev/tulle/hack/cluster/layout"
)

// Find returns the layout of a cluster that runs, has died or is to be made.
// index is the range number, or -1 for that of the cluster's record, or 0
// without one. An empty state is the default folder.
func Find(name string, index int, state string) (layout.Layout, error) {
	if state == "" {
		base := os.Getenv("XDG_STATE_HOME")
		if base == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return layout.Layout{}, fmt.Errorf("find the home folder: %w", err)
			}
			base = filepath.Join(home, ".local", "state")
		}
		state = filepath.Join(base, "tulle", name)
	}
	state, err := filepath.Abs(state)
	if err != nil {
		return layout.Layout{}, fmt.Errorf("find the state folder: %w", err)
	}
	l, err := layout.New(name, max(index, 0), state)
	if err != nil {
		return layout.Layout{}, err
	}
	r, ok, err := ReadRecord(l)
	if err != nil || !ok {
		return l, err
	}
	if r.Name != name {
		return layout.Layout{}, fmt.Errorf("state folder %s belongs to cluster %q", state, r.Name)
	}
	if index >= 0 && index != r.Range {
		return layout.Layout{}, fmt.Errorf("cluster %s has range %d, not %d: run `down` first", name, r.Range, index)
	}
	return layout.New(name, r.Range, state)
}

// FindLive is Find for a cluster that must be running.
func FindLive(name string, index int, state string) (layout.Layout, error) {
	l, err := Find(name, index, state)
	if err != nil {
		return layout.Layout{}, err
	}
	r, ok, err := ReadRecord(l)
	if err != nil {
		return layout.Layout{}, err
	}
	if !ok || !r.Alive() {
		return layout.Layout{}, fmt.Errorf("cluster %s is not up: run `cluster up`", name)
	}
	return l, nil
}
