// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"tulle.dev/tulle/hack/cluster/layout"
	"tulle.dev/tulle/hack/cluster/render"
)

// Spec is what the node is told on file descriptor 3. It is written once the
// link to the host exists, so that reading it is also waiting for that.
type Spec struct {
	Name  string `json:"name"`
	Range int    `json:"range"`
	State string `json:"state"`
}

// Run is the life of the node. It returns only if the node cannot be made, or
// on a signal.
func Run() error {
	l, err := readSpec(os.NewFile(3, "spec"))
	if err != nil {
		return err
	}
	if err := prepare(l); err != nil {
		report := Report{Failed: err.Error()}
		if werr := report.write(l.NodeFile()); werr != nil {
			return fmt.Errorf("%w (and %w)", err, werr)
		}
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return supervise(ctx, l, render.Components(l))
}

func readSpec(f *os.File) (layout.Layout, error) {
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return layout.Layout{}, fmt.Errorf("read spec: %w", err)
	}
	var s Spec
	if err := json.Unmarshal(data, &s); err != nil {
		return layout.Layout{}, fmt.Errorf("parse spec %q: %w", data, err)
	}
	return layout.New(s.Name, s.Range, s.State)
}

func prepare(l layout.Layout) error {
	// As root of the pid namespace's processes; kubelet and containers inherit it.
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise limit of open files: %w", err)
	}
	if err := syscall.Sethostname([]byte(l.NodeName())); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := mounts(); err != nil {
		return err
	}
	return network(l)
}
