// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/dataplane/envoy"
	"tulle.dev/tulle/internal/dataplane/slot"
	"tulle.dev/tulle/test/faulty"
)

// TestInterfere: orders are passed on as they are, and Envoy ends when the release's fault is to show, and not
// otherwise.
func TestInterfere(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "envoy") // it takes any arguments, and runs until it is ended
	if err := os.WriteFile(binary, []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		release, orders string
		ends            bool
	}{
		"it cuts":              {faulty.Cutting, string(slot.CommandEnding) + "\n" + string(slot.CommandHandover) + "\n", true},
		"the pod ends":         {faulty.Cutting, string(slot.CommandEnding) + "\n" + string(slot.CommandStop) + "\n", false},
		"another release":      {faulty.Slow, string(slot.CommandHandover) + "\n", false},
		"it crashes by itself": {faulty.Crashing, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p, err := envoy.Start(envoy.Options{Binary: binary, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Kill()
			var passed bytes.Buffer
			if err := interfere(c.release, dir, strings.NewReader(c.orders), &passed); err != nil || passed.String() != c.orders {
				t.Errorf("passed on %q, %v", passed.String(), err)
			}
			if !c.ends {
				select {
				case <-p.Done():
					t.Error("Envoy ended")
				default:
				}
				return
			}
			select {
			case <-p.Done():
			case <-time.After(20 * time.Second):
				t.Error("Envoy runs")
			}
		})
	}
}
