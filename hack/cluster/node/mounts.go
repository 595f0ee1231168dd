// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// mounts gives the node its own /proc, /run and /var/log.
func mounts() error {
	const none = 0
	steps := []struct {
		what, source, target, kind string
		flags                      uintptr
		data                       string
	}{
		{"cut off the host's mounts", "", "/", "", syscall.MS_REC | syscall.MS_PRIVATE, ""},
		{"mount /proc", "proc", "/proc", "proc", syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC, ""},
		// Containers get their volumes through shared mounts.
		{"share mounts", "", "/", "", syscall.MS_REC | syscall.MS_SHARED, ""},
		{"mount /run", "tmpfs", "/run", "tmpfs", none, "mode=755"},
		{"mount /var/log", "tmpfs", "/var/log", "tmpfs", none, "mode=755"},
		{"share /run", "", "/run", "", syscall.MS_REC | syscall.MS_SHARED, ""},
	}
	for _, s := range steps {
		if err := syscall.Mount(s.source, s.target, s.kind, s.flags, s.data); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return pretendSysctls()
}

// pretendSysctls covers the kernel settings that the kubelet insists on
// writing. They are the machine's, not the node's: the kubelet finds the values
// it wants, and the machine keeps its own.
func pretendSysctls() error {
	const dir = "/run/sysctl"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	for name, value := range map[string]string{
		"vm/overcommit_memory":      "1",
		"vm/panic_on_oom":           "0",
		"kernel/panic":              "10",
		"kernel/panic_on_oops":      "1",
		"kernel/keys/root_maxkeys":  "1000000",
		"kernel/keys/root_maxbytes": "25000000",
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
		if err := syscall.Mount(file, "/proc/sys/"+name, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover sysctl %s: %w", name, err)
		}
	}
	return nil
}
