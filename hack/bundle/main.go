// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Bundle writes what the operator is shipped in besides plain kustomize: the
// bundle for the Operator Lifecycle Manager and the Helm chart. Both are made
// from config/, and nobody edits them.
//
//	bundle olm     bundle/, from config/manifests
//	bundle chart   charts/tulle, from config/default
//
// Package source reads config/, olm and chart write; all three are small.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"tulle.dev/tulle/hack/bundle/chart"
	"tulle.dev/tulle/hack/bundle/olm"
	"tulle.dev/tulle/hack/bundle/source"
)

func main() {
	repo := flag.String("repo", ".", "folder of the repository")
	image := flag.String("image", "", "image of the manager; empty: what config/default says")
	proxy := flag.String("proxy-image", "", "image of the proxy; empty: what config/default says")
	out := flag.String("out", "", "folder to write into instead of the repository")
	flag.Parse()
	if *out == "" {
		*out = *repo
	}
	if err := run(flag.Arg(0), *repo, *out, source.Images{Manager: *image, Proxy: *proxy}); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run(verb, repo, out string, images source.Images) error {
	switch verb {
	case "olm":
		files, err := olm.Generate(repo, images)
		if err != nil {
			return err
		}
		return source.WriteTree(out, []string{filepath.Join("bundle"), "bundle.Dockerfile"}, files)
	case "chart":
		files, err := chart.Generate(repo, images)
		if err != nil {
			return err
		}
		return source.WriteTree(out, []string{filepath.Join("charts", "tulle")}, files)
	}
	return fmt.Errorf("unknown verb %q: write olm or chart", verb)
}
