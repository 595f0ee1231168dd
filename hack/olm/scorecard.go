// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/hack/internal/parts"
)

// scorecardConfig is a bundle's tests/scorecard/config.yaml, as far as it is read.
type scorecardConfig struct {
	Stages []struct {
		Tests []struct {
			Entrypoint []string
		}
	}
}

// scorecardResult is what a test prints.
type scorecardResult struct {
	Results []struct {
		Name, State         string
		Errors, Suggestions []string
	}
}

// scorecard runs the tests that a bundle's own configuration names, without a
// cluster: they only look at the bundle. The program has the bundle at
// /bundle, and that is where it gets it: in a root of its own.
func scorecard(ctx context.Context, b *parts.Builder, bundle string) error {
	built, err := b.Build(ctx, []parts.Part{parts.Scorecard()})
	if err != nil {
		return err
	}
	names, err := scorecardTests(bundle)
	if err != nil {
		return err
	}
	root, err := os.MkdirTemp("", "scorecard-*")
	if err != nil {
		return fmt.Errorf("make a root for the tests: %w", err)
	}
	defer os.RemoveAll(root)
	if err := os.CopyFS(filepath.Join(root, "bundle"), os.DirFS(bundle)); err != nil {
		return fmt.Errorf("copy the bundle: %w", err)
	}
	program, err := os.ReadFile(built["scorecard-test"])
	if err != nil {
		return fmt.Errorf("read the tests: %w", err)
	}
	if err := os.WriteFile(filepath.Join(root, "scorecard-test"), program, 0o755); err != nil {
		return fmt.Errorf("copy the tests: %w", err)
	}
	failed := 0
	for _, name := range names {
		r, err := runScorecard(ctx, root, name)
		if err != nil {
			return err
		}
		for _, one := range r.Results {
			fmt.Printf("%-26s %s\n", one.Name, one.State)
			for _, line := range append(one.Errors, one.Suggestions...) {
				fmt.Println("    " + line)
			}
			if one.State != "pass" || len(one.Errors) > 0 {
				failed++
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d tests of the bundle failed", failed, len(names))
	}
	return nil
}

func scorecardTests(bundle string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(bundle, "tests", "scorecard", "config.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read the scorecard's configuration: %w", err)
	}
	var c scorecardConfig
	if err := yaml.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("parse the scorecard's configuration: %w", err)
	}
	var names []string
	for _, s := range c.Stages {
		for _, t := range s.Tests {
			if len(t.Entrypoint) != 2 {
				return nil, fmt.Errorf("a scorecard test is started by %q: want the program and a name", t.Entrypoint)
			}
			names = append(names, t.Entrypoint[1])
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the scorecard's configuration of %s names no tests", bundle)
	}
	return names, nil
}

func runScorecard(ctx context.Context, root, name string) (*scorecardResult, error) {
	cmd := exec.CommandContext(ctx, "/scorecard-test", name)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		// Nobody but root may change the root, except in a user namespace.
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run scorecard test %s: %w\n%s", name, err, stderr.String())
	}
	var r scorecardResult
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || len(r.Results) == 0 {
		return nil, fmt.Errorf("read the result of scorecard test %s: %w\n%s", name, err, stdout.String())
	}
	return &r, nil
}
