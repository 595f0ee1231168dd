// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package host

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tulle.dev/tulle/hack/cluster/layout"
)

// Stop ends the cluster and removes everything it made. With keep, the state
// folder stays, and a later Start goes on from it.
func Stop(l layout.Layout, keep bool) error {
	if err := Clear(l); err != nil {
		return err
	}
	if err := unfence(); err != nil {
		return err
	}
	if keep {
		return nil
	}
	return removeState(l)
}

// removeState removes the cluster's own files, and the folder if that leaves it
// empty: somebody may have put files of theirs in it.
func removeState(l layout.Layout) error {
	for _, name := range l.Owned() {
		if err := os.RemoveAll(l.Path(name)); err != nil {
			return fmt.Errorf("remove state: %w", err)
		}
	}
	if left, err := os.ReadDir(l.State); err != nil || len(left) > 0 {
		return nil
	}
	if err := os.Remove(l.State); err != nil {
		return fmt.Errorf("remove state folder: %w", err)
	}
	return nil
}

// Clear ends the cluster's processes, and with them its mounts and interfaces,
// and removes its link and cgroups. It is also right for a cluster that died.
func Clear(l layout.Layout) error {
	r, ok, err := ReadRecord(l)
	if err != nil {
		return err
	}
	if ok && r.Alive() {
		if err := end(r); err != nil {
			return err
		}
	}
	if err := removeLink(l); err != nil {
		return err
	}
	if err := removeCgroups(l); err != nil {
		return err
	}
	for _, f := range []string{l.ClusterFile(), l.NodeFile(), l.ContainerdSocket(), l.ContainerdSocket() + ".ttrpc"} {
		if err := os.Remove(f); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("remove state: %w", err)
		}
	}
	return nil
}

// end kills the first process of the pid namespace; the kernel kills all the
// others in it, and the first is gone only when they are.
func end(r Record) error {
	if err := syscall.Kill(r.Pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		return fmt.Errorf("end the node (process %d): %w", r.Pid, err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for r.Alive() {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not end", r.Pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// Lock makes sure that one command at a time changes a cluster. It waits for
// the other one, saying so.
func Lock(l layout.Layout, say func(string)) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(l.LockFile()), 0o755); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	f, err := os.OpenFile(l.LockFile(), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == syscall.EWOULDBLOCK {
		say("waiting for another command on cluster " + l.Name)
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock: %w", err)
		}
	} else if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock: %w", err)
	}
	return func() { f.Close() }, nil
}
