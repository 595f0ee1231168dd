// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// checkEnvoyCommand compares the pinned hash of Envoy's binary with a checksum
// file of the Envoy project. It does not verify the file's signature; see
// docs/operating/supply-chain.md.
func checkEnvoyCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "check-envoy FILE", Short: "Compare the pinned hash of Envoy with the checksum file of its release", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := findRelease(o.release)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			line, err := comparePublished(string(text), r.envoy)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			fmt.Println(line)
			return nil
		},
	}
}

// checksumLine is a line that sha256sum writes.
var checksumLine = regexp.MustCompile(`^([0-9a-fA-F]{64}) [ *](\S+)$`)

// comparePublished looks for Envoy's x86-64 program in a checksum file, with
// or without the lines of a clear signature, and compares its hash with the
// pinned one. Every line that names the program must agree.
func comparePublished(checksums string, w wheel) (string, error) {
	name := "envoy-" + w.version + "-linux-x86_64"
	found := 0
	for line := range strings.Lines(checksums) {
		m := checksumLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || path.Base(m[2]) != name {
			continue
		}
		found++
		if got := strings.ToLower(m[1]); got != w.binary {
			return "", fmt.Errorf("the published SHA-256 of %s is %s, but %s is pinned in hack/images/release.go; do not release this binary as Envoy's own (see docs/operating/supply-chain.md)", name, got, w.binary)
		}
	}
	if found == 0 {
		return "", fmt.Errorf("no line is about %s; use the checksum file of the release v%s of Envoy", name, w.version)
	}
	return fmt.Sprintf("%s: the pinned hash is the published one, %s", name, w.binary), nil
}
