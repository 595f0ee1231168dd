// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package parts

import (
	"fmt"
	"os"
	"path/filepath"
)

// FindRepo returns the repository's folder: TULLE_REPO, or the nearest folder
// above the working directory or above this program that holds the parts.
func FindRepo() (string, error) {
	if dir := os.Getenv("TULLE_REPO"); dir != "" {
		if !isRepo(dir) {
			return "", fmt.Errorf("TULLE_REPO=%s holds no hack/parts", dir)
		}
		return filepath.Abs(dir)
	}
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			if isRepo(dir) {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("cannot find the repository: run inside it, or set TULLE_REPO")
}

func isRepo(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "hack", "parts", "kube", "go.mod"))
	return err == nil
}

// CacheDir is $XDG_CACHE_HOME/tulle, or ~/.cache/tulle.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(dir, "tulle"), nil
}
