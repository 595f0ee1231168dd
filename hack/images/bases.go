// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/hack/internal/parts"
)

// The images that "images build" packs have no base image. The Dockerfiles,
// for people with docker, build in images of others. These are named by tag
// and digest, so that the same file builds in the same images.

// pinned ends a reference that names an image by its digest.
var pinned = regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)

// base is an image of others that a Dockerfile names.
type base struct {
	line int // from 1
	ref  string
}

// bases returns the images of others that a Dockerfile names, in FROM, COPY
// --from and RUN --mount lines and in the syntax directive. Scratch and the
// names and numbers of earlier stages are not images.
func bases(dockerfile string) []base {
	var found []base
	stages, number := []string{"scratch"}, 0
	add := func(line int, ref string) {
		if !slices.Contains(stages, strings.ToLower(ref)) {
			found = append(found, base{line, ref})
		}
	}
	for n, line := range strings.Split(dockerfile, "\n") {
		fields := strings.Fields(line)
		if m := syntaxDirective.FindStringSubmatch(line); m != nil {
			add(n+1, m[1])
		}
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if strings.EqualFold(fields[0], "FROM") {
			args := slices.DeleteFunc(fields[1:], func(f string) bool { return strings.HasPrefix(f, "--") })
			if len(args) > 0 {
				add(n+1, args[0])
			}
			stages = append(stages, strconv.Itoa(number))
			number++
			if len(args) == 3 && strings.EqualFold(args[1], "AS") {
				stages = append(stages, strings.ToLower(args[2]))
			}
			continue
		}
		for _, m := range fromOption.FindAllStringSubmatch(line, -1) {
			add(n+1, m[1])
		}
	}
	return found
}

var (
	syntaxDirective = regexp.MustCompile(`(?i)^#\s*syntax\s*=\s*(\S+)`)
	fromOption      = regexp.MustCompile(`(?:--|,)from=([^\s,]+)`)
)

// repin returns the Dockerfile with every base image named by tag and by the
// digest that resolve returns for the tag. A base without a tag is an error.
func repin(dockerfile string, resolve func(ref string) (digest string, err error)) (string, error) {
	lines := strings.Split(dockerfile, "\n")
	for _, b := range bases(dockerfile) {
		tagged := pinned.ReplaceAllString(b.ref, "")
		if strings.Contains(tagged, "$") || !strings.Contains(tagged[strings.LastIndex(tagged, "/")+1:], ":") {
			return "", fmt.Errorf("line %d: base image %s has no fixed tag", b.line, b.ref)
		}
		digest, err := resolve(tagged)
		if err != nil {
			return "", fmt.Errorf("line %d: resolve %s: %w", b.line, tagged, err)
		}
		ref := tagged + "@" + digest
		if !pinned.MatchString(ref) {
			return "", fmt.Errorf("line %d: the registry's digest of %s is %q, not a SHA-256", b.line, tagged, digest)
		}
		lines[b.line-1] = strings.Replace(lines[b.line-1], b.ref, ref, 1)
	}
	return strings.Join(lines, "\n"), nil
}

// dockerfiles returns the paths of the Dockerfiles of the repository.
func dockerfiles(ctx context.Context, repo string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "git", "ls-files", "*Dockerfile*", "*Containerfile*")
	cmd.Dir = repo
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list Dockerfiles: %w", err)
	}
	var all []string
	for _, name := range strings.Fields(string(out)) {
		all = append(all, filepath.Join(repo, name))
	}
	return all, nil
}

func pinBasesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pin-bases", Short: "Ask the registries for the digests of the Dockerfiles' base images, and write them", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			repo, err := parts.FindRepo()
			if err != nil {
				return err
			}
			files, err := dockerfiles(c.Context(), repo)
			if err != nil {
				return err
			}
			resolve := func(ref string) (string, error) { return registryDigest(c.Context(), repo, ref) }
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				changed, err := repin(string(text), resolve)
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				if changed == string(text) {
					continue
				}
				if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
					return err
				}
				fmt.Println(file)
			}
			return nil
		},
	}
}

// registryDigest asks the registry with crane, which is pinned in hack/tools.
func registryDigest(ctx context.Context, repo, ref string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile="+filepath.Join(repo, "hack/tools/go.mod"), "crane", "digest", ref)
	cmd.Dir = repo
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("crane digest: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
