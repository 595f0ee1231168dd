// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/hack/internal/licenses"
	"tulle.dev/tulle/hack/internal/parts"
)

func sbomCommand(o *options) *cobra.Command {
	dir := "out/sbom"
	c := &cobra.Command{
		Use: "sbom NAME...", Short: "Write the bill of materials (CycloneDX) of images", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, names []string) error {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("make folder: %w", err)
			}
			for _, name := range names {
				text, err := sbom(c.Context(), o, name)
				if err != nil {
					return fmt.Errorf("bill of materials of %s: %w", name, err)
				}
				file := filepath.Join(dir, name+".cdx.json")
				if err := os.WriteFile(file, text, 0o644); err != nil {
					return fmt.Errorf("write bill of materials: %w", err)
				}
				fmt.Println(file)
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "out", dir, "folder of the files")
	return c
}

// sbom builds the programs of an image and returns its bill of materials.
func sbom(ctx context.Context, o *options, name string) ([]byte, error) {
	chosen, err := choose([]string{name})
	if err != nil {
		return nil, err
	}
	r, err := findRelease(o.release)
	if err != nil {
		return nil, err
	}
	b, err := o.builder()
	if err != nil {
		return nil, err
	}
	c, err := collect(ctx, b, chosen[0], o.stamp(r), r)
	if err != nil {
		return nil, err
	}
	cache, err := licenses.CacheDir(ctx)
	if err != nil {
		return nil, err
	}
	made, err := bill(c, func(m licenses.Module) ([]string, error) { return licenses.Of(m.In(cache)) })
	if err != nil {
		return nil, err
	}
	return encode(made)
}

// collect reads what an image contains from the files that are packed into it.
func collect(ctx context.Context, b *parts.Builder, i image, version string, r release) (contents, error) {
	c := contents{name: i.name, version: version, files: map[string]libraryFile{}}
	var programs []parts.Part
	for _, p := range i.programsOf(r) {
		programs = append(programs, p.part(version, r))
	}
	built, err := binaries(ctx, b, r, programs)
	if err != nil {
		return contents{}, err
	}
	for n, p := range i.programsOf(r) {
		file := built[programs[n].Name]
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return contents{}, fmt.Errorf("read build information: %w", err)
		}
		sum, err := fileHash(file)
		if err != nil {
			return contents{}, fmt.Errorf("hash program: %w", err)
		}
		c.programs = append(c.programs, builtProgram{path: p.path, sha256: sum, info: info})
	}
	if !i.envoy {
		return c, nil
	}
	envoy, err := fetchEnvoy(ctx, b.Cache, r.envoy)
	if err != nil {
		return contents{}, err
	}
	c.envoy = r.envoy
	libraries, err := neededLibraries(envoy, libraryDirs())
	if err != nil {
		return contents{}, err
	}
	for path, source := range libraries {
		f := libraryFile{}
		if f.sha256, err = fileHash(source); err != nil {
			return contents{}, fmt.Errorf("hash library: %w", err)
		}
		f.pkg, f.version = debianOwner(ctx, source)
		c.files[path] = f
	}
	return c, nil
}

// debianOwner returns the installed Debian package that a file belongs to, or
// nothing where there is no such package.
func debianOwner(ctx context.Context, file string) (pkg, version string) {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-S", file).Output()
	if err != nil {
		// Debian's database has the path before or after /lib became a link to /usr/lib.
		if out, err = exec.CommandContext(ctx, "dpkg-query", "-S", "/usr"+file).Output(); err != nil {
			return "", ""
		}
	}
	pkg, _, _ = strings.Cut(string(out), ":")
	out, err = exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}\n", pkg).Output()
	if err != nil {
		return "", ""
	}
	version, _, _ = strings.Cut(string(out), "\n")
	return pkg, version
}
