// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"tulle.dev/tulle/internal/lifecycle/release"
)

// defaultReleases is where config/manager mounts the key releases.yaml of the ConfigMap
// tulle-releases, which need not exist.
const defaultReleases = "/etc/tulle/releases/releases.yaml"

// readReleases reads the administrator's list of releases. The default file may be missing; one that
// somebody asked for may not.
func readReleases(path string) ([]release.Entry, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && path == defaultReleases {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read releases: %w", err)
	}
	list, err := release.ParseFile(text)
	if err != nil {
		return nil, fmt.Errorf("read releases from %s: %w", path, err)
	}
	return list, nil
}
