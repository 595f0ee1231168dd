// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tulle.dev/tulle/hack/cluster/layout"
)

const cgroupMount = "/sys/fs/cgroup"

// makeCgroups makes the cgroup that all pods go into, in every hierarchy there
// is: the kubelet wants to find its root.
func makeCgroups(l layout.Layout) error {
	if unified() {
		return makeUnified(l)
	}
	entries, err := os.ReadDir(cgroupMount)
	if err != nil {
		return fmt.Errorf("list cgroup hierarchies: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue // cpu and cpuacct may be links to one hierarchy
		}
		dir := filepath.Join(cgroupMount, e.Name())
		if err := os.MkdirAll(dir+l.CgroupRoot(), 0o755); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
		if e.Name() != "cpuset" {
			continue
		}
		// A new cpuset is empty, and nothing can run in an empty one.
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil {
				return fmt.Errorf("read cpuset: %w", err)
			}
			if err := os.WriteFile(filepath.Join(dir+l.CgroupRoot(), f), value, 0o644); err != nil {
				return fmt.Errorf("fill cpuset: %w", err)
			}
		}
	}
	return nil
}

// makeUnified is makeCgroups for cgroup v2, where a cgroup has the controllers
// that its parent hands down.
func makeUnified(l layout.Layout) error {
	root := cgroupMount + l.CgroupRoot()
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("make cgroup: %w", err)
	}
	for _, dir := range []string{cgroupMount, root} {
		controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		if err != nil {
			return fmt.Errorf("read cgroup controllers: %w", err)
		}
		for _, c := range strings.Fields(string(controllers)) {
			if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644); err != nil && dir == root {
				return fmt.Errorf("enable cgroup controller %s: %w", c, err)
			}
		}
	}
	return nil
}

func unified() bool {
	_, err := os.Stat(filepath.Join(cgroupMount, "cgroup.controllers"))
	return err == nil
}

// cgroups lists the cluster's cgroup folders that exist.
func cgroups(l layout.Layout) []string {
	found, err := filepath.Glob(cgroupMount + "/*" + l.CgroupRoot())
	if err != nil {
		return nil // cannot be: the pattern is a constant and a name without wildcards
	}
	if unified() {
		found = append(found, cgroupMount+l.CgroupRoot())
	}
	return found
}

// removeCgroups removes the cluster's cgroups. A cgroup stays busy for a
// moment after its last process has ended.
func removeCgroups(l layout.Layout) error {
	deadline := time.Now().Add(20 * time.Second)
	for _, root := range cgroups(l) {
		for {
			err := removeTree(root)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("remove cgroup %s: %w", root, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// removeTree removes folders only: the files of a cgroup can't be removed and
// go with it.
func removeTree(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
				return nil
			}
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := syscall.Rmdir(dirs[i]); err != nil && err != syscall.ENOENT {
			return err
		}
	}
	return nil
}
