// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Licenses checks that every module that a go.mod file of the repository
// requires has an allowed licence. It reads only the module cache. A module
// that is not in the cache is fetched with the go command; if that is not
// possible, the module is reported as not checked, and for the main module,
// which the published images are built from, the check fails.
//
//	licenses        check, print what is not allowed
//	licenses -list  print every module with its licences
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"tulle.dev/tulle/hack/internal/licenses"
	"tulle.dev/tulle/hack/internal/parts"
)

func main() {
	list := flag.Bool("list", false, "print every module with its licences")
	flag.Parse()
	if err := run(context.Background(), *list, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, list bool, out io.Writer) error {
	repo, err := parts.FindRepo()
	if err != nil {
		return err
	}
	cache, err := licenses.CacheDir(ctx)
	if err != nil {
		return err
	}
	files := exec.CommandContext(ctx, "git", "ls-files", "*.mod")
	files.Dir = repo
	names, err := files.Output()
	if err != nil {
		return fmt.Errorf("list module files: %w", err)
	}
	c := checker{cache: cache, known: map[licenses.Module][]string{}, out: out, list: list}
	var all []licenses.Module
	for _, name := range strings.Fields(string(names)) {
		required, err := licenses.Required(ctx, filepath.Join(repo, name))
		if err != nil {
			return err
		}
		if err := c.check(ctx, name, required); err != nil {
			return err
		}
		all = append(all, required...)
	}
	for _, path := range licenses.Unused(all) {
		c.report(fmt.Sprintf("hack/internal/licenses has an exception for %s, which no module requires; remove it", path))
	}
	if c.problems > 0 {
		return fmt.Errorf("%d problems; choose another module, or see hack/internal/licenses/judge.go", c.problems)
	}
	if len(c.known) == 0 {
		return errors.New("found no required module; run it inside the repository")
	}
	fmt.Fprintf(out, "%d modules have allowed licences\n", len(c.known))
	return nil
}

// checker keeps what is known over all go.mod files.
type checker struct {
	cache    string
	known    map[licenses.Module][]string
	problems int
	list     bool
	out      io.Writer
}

func (c *checker) report(line string) {
	c.problems++
	fmt.Fprintln(c.out, line)
}

// check judges what one go.mod file requires.
func (c *checker) check(ctx context.Context, file string, required []licenses.Module) error {
	published := file == "go.mod" // the images are built from the main module
	for _, m := range required {
		found, ok := c.known[m]
		if !ok {
			dir := m.In(c.cache)
			if _, err := os.Stat(dir); err != nil {
				if why := fetch(ctx, m); why != nil {
					line := fmt.Sprintf("not checked: %s requires %s %s: %v", file, m.Path, m.Version, why)
					if published {
						c.report(line)
					} else {
						fmt.Fprintln(c.out, line)
					}
					continue
				}
			}
			var err error
			if found, err = licenses.Of(dir); err != nil {
				return fmt.Errorf("%s %s: %w", m.Path, m.Version, err)
			}
			c.known[m] = found
		}
		if c.list {
			fmt.Fprintln(c.out, file, m.Path, m.Version, strings.Join(found, ","))
		}
		if problem := licenses.Judge(m.Path, found, published); problem != "" {
			c.report(fmt.Sprintf("%s: module %s %s %s", file, m.Path, m.Version, problem))
		}
	}
	return nil
}

// fetch downloads a module into the module cache.
func fetch(ctx context.Context, m licenses.Module) error {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", m.Path+"@"+m.Version)
	cmd.Dir = os.TempDir() // outside of any module, whose go.sum would be asked
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch: %w: %s", err, strings.TrimSpace(string(text)))
	}
	return nil
}
