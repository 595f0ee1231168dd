// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Refs prints the images that the conformance suite's manifests name, each once.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/gateway-api/conformance"
)

func main() {
	found, err := images(conformance.Manifests)
	if err != nil {
		fmt.Fprintln(os.Stderr, "refs:", err)
		os.Exit(1)
	}
	for _, ref := range found {
		fmt.Println(ref)
	}
}

func images(manifests fs.FS) ([]string, error) {
	found := map[string]bool{}
	err := fs.WalkDir(manifests, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".yaml" {
			return err
		}
		text, err := fs.ReadFile(manifests, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			line := strings.TrimPrefix(strings.TrimSpace(lines.Text()), "- ")
			if ref, ok := strings.CutPrefix(line, "image: "); ok {
				found[strings.Trim(ref, `"' `)] = true
			}
		}
		return nil
	})
	return slices.Sorted(maps.Keys(found)), err
}
