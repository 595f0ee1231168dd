// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/cli/unmesh"
)

// restarting has workloads by name: what becomes of them.
type restarting map[string]cluster.Progress

func (r restarting) Unmesh(_ context.Context, ref unmesh.Ref, _ time.Time) error {
	if ref.Name == "refused" {
		return errors.New("restart " + ref.String() + ": no")
	}
	return nil
}

func (r restarting) Restarted(_ context.Context, ref unmesh.Ref) (cluster.Progress, error) {
	return r[ref.Name], nil
}

// TestWaveWithFailures: a workload that can't leave the mesh ends a wave; with --force it is named, and the others leave.
func TestWaveWithFailures(t *testing.T) {
	all := restarting{"in-vain": {InVain: true, Proxies: 1}, "good": {Done: true, Replaced: 1, Wanted: 1}, "stuck": {Wanted: 1, Message: "pod x: no node"}}
	wave := unmesh.Wave{}
	for _, name := range []string{"refused", "in-vain", "stuck", "good"} {
		wave.Workloads = append(wave.Workloads, unmesh.Ref{Kind: "Deployment", Namespace: "a", Name: name})
	}
	for _, force := range []bool{false, true} {
		var out bytes.Buffer
		u := &uninstall{uninstallFlags: uninstallFlags{force: force, timeout: 50 * time.Millisecond}, g: &global{}}
		u.g.streams.Out, u.g.streams.Err = &out, io.Discard
		err := u.wave(t.Context(), all, wave)
		if err == nil || !strings.Contains(err.Error(), "a/refused") || strings.Contains(out.String(), "a/good: out of the mesh") != force {
			t.Errorf("force %v: %v, %s", force, err, &out)
		}
		for _, words := range []string{"a/in-vain was restarted", "stuck: 0 of 1 pods replaced (pod x: no node)"} {
			if err != nil && strings.Contains(err.Error(), words) != force {
				t.Errorf("force %v: %q in %v", force, words, err)
			}
		}
	}
}
