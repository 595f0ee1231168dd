// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package host

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"tulle.dev/tulle/hack/cluster/layout"
	"tulle.dev/tulle/hack/cluster/node"
	"tulle.dev/tulle/hack/cluster/pki"
	"tulle.dev/tulle/hack/cluster/render"
)

// Start makes the node and lets it run. The cluster must not be alive; what a
// dead one left is cleared, and its data (etcd, images) is kept. binaries maps
// the names of the components' programs to their files.
func Start(l layout.Layout, binaries map[string]string, now time.Time) error {
	if err := Clear(l); err != nil {
		return err
	}
	if err := freeLink(l); err != nil {
		return err
	}
	if err := files(l, binaries, now); err != nil {
		return err
	}
	if err := makeCgroups(l); err != nil {
		return err
	}
	if err := fence(); err != nil {
		return err
	}
	if err := bear(l, now); err != nil {
		// Nothing half-made stays behind.
		if cerr := Clear(l); cerr != nil {
			return fmt.Errorf("%w (and clearing up: %w)", err, cerr)
		}
		return err
	}
	return nil
}

// bear starts the first process, records it, links it to the host and tells it
// to begin.
func bear(l layout.Layout, now time.Time) error {
	pid, spec, err := spawn(l)
	if err != nil {
		return err
	}
	defer spec.Close()
	r := Record{Name: l.Name, Range: l.Range, Pid: pid, StartTime: startTime(pid), Boot: bootID(), Started: now}
	if err := r.write(l); err != nil {
		return err
	}
	if err := makeLink(l, pid); err != nil {
		return err
	}
	if err := json.NewEncoder(spec).Encode(node.Spec{Name: l.Name, Range: l.Range, State: l.State}); err != nil {
		return fmt.Errorf("tell the node what to do: %w", err)
	}
	return nil
}

// files lays out the state folder: certificates, configuration, and the
// programs under the names that they find each other by.
func files(l layout.Layout, binaries map[string]string, now time.Time) error {
	for _, d := range []string{"", "log", "bin", "etc", "etc/cni", "containerd", "kubelet", "podlogs"} {
		if err := os.MkdirAll(l.Path(d), 0o755); err != nil {
			return fmt.Errorf("make state folder: %w", err)
		}
	}
	if err := pki.Ensure(l, now); err != nil {
		return err
	}
	snapshotter, err := Snapshotter(l)
	if err != nil {
		return err
	}
	for path, content := range render.Files(l, snapshotter) {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	for name, file := range binaries {
		if err := relink(file, filepath.Join(l.Bin(), name)); err != nil {
			return err
		}
	}
	return keepSelf(l)
}

// keepSelf copies this program into the state folder: the node restarts its
// helpers from there even when the original, perhaps in a temporary folder of
// `go run`, is gone.
func keepSelf(l layout.Layout) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	target := filepath.Join(l.Bin(), "cluster")
	if same, err := filepath.EvalSymlinks(target); err == nil && same == self {
		return nil // called as the copy
	}
	data, err := os.ReadFile(self)
	if err != nil {
		return fmt.Errorf("read this program: %w", err)
	}
	if err := os.WriteFile(target+".new", data, 0o755); err != nil {
		return fmt.Errorf("copy this program: %w", err)
	}
	return os.Rename(target+".new", target)
}

func relink(file, link string) error {
	if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("replace link: %w", err)
	}
	if err := os.Symlink(file, link); err != nil {
		return fmt.Errorf("link binary: %w", err)
	}
	return nil
}

// Snapshotter is overlayfs, unless the state folder itself is on an overlay,
// as in a container: overlays do not stack.
func Snapshotter(l layout.Layout) (string, error) {
	const overlayMagic = 0x794c7630
	var fs syscall.Statfs_t
	if err := syscall.Statfs(l.State, &fs); err != nil {
		return "", fmt.Errorf("look at the state folder's file system: %w", err)
	}
	if fs.Type == overlayMagic {
		return "native", nil
	}
	return "overlayfs", nil
}

// spawn starts the node's first process in its namespaces. It is a process of
// its own session and outlives the caller. It waits for its spec on the
// returned pipe, whose closing without a spec ends it.
func spawn(l layout.Layout) (pid int, spec *os.File, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, nil, fmt.Errorf("make pipe: %w", err)
	}
	defer r.Close()
	log, err := os.OpenFile(l.Log("node"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		w.Close()
		return 0, nil, fmt.Errorf("open node log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(l.Bin(), "cluster"), "node")
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = "/", log, log, []*os.File{r}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if err := cmd.Start(); err != nil {
		w.Close()
		return 0, nil, fmt.Errorf("make the node's namespaces (needs root): %w", err)
	}
	// Collect it if it dies while this program still runs.
	go func() { _ = cmd.Wait() }()
	return cmd.Process.Pid, w, nil
}
