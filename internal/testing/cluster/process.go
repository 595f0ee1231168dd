// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// Process is a process of a pod, as this machine sees it.
type Process struct {
	// PID is this machine's number of it.
	PID  int
	Args []string
	// Env is its environment when it began.
	Env map[string]string
}

// Processes lists what runs in a pod now. The pod's node has to be this machine, as the embedded
// cluster's is, and the caller root: from inside, nobody can end the first process of a container.
func Processes(t testing.TB, pod types.UID) []Process {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	var out []Process
	for _, file := range all {
		// What can't be read has ended meanwhile.
		groups, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(groups), "/pod"+string(pod)) {
			continue
		}
		dir := filepath.Dir(file)
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || len(args) == 0 {
			continue
		}
		p := Process{PID: pid, Args: strings.Split(strings.TrimRight(string(args), "\x00"), "\x00"), Env: map[string]string{}}
		for v := range strings.SplitSeq(string(env), "\x00") {
			name, value, _ := strings.Cut(v, "=")
			p.Env[name] = value
		}
		out = append(out, p)
	}
	return out
}
