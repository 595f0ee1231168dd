// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/hack/internal/parts"
)

// binaries builds programs of a release and returns their paths by the names of the parts. Programs of a
// previous release are built from its commit once, and kept in the cache under that commit.
func binaries(ctx context.Context, b *parts.Builder, r release, programs []parts.Part) (map[string]string, error) {
	if r.commit == "" {
		return b.Build(ctx, programs)
	}
	kept, missing := map[string]string{}, []parts.Part(nil)
	for _, p := range programs {
		kept[p.Name] = keptBinary(b.Cache, r.commit, p)
		if _, err := os.Stat(kept[p.Name]); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return kept, nil
	}
	b.Progress("building release " + r.version + " from commit " + r.commit)
	err := inWorktree(ctx, b.Repo, b.Cache, r, func(dir string) error {
		old := &parts.Builder{Repo: dir, Cache: b.Cache, Progress: b.Progress}
		built, err := old.Build(ctx, missing)
		if err != nil {
			return err
		}
		for _, p := range missing {
			if err := keep(built[p.Name], kept[p.Name]); err != nil {
				return fmt.Errorf("keep %s of release %s: %w", p.Title, r.version, err)
			}
		}
		return nil
	})
	return kept, err
}

// keptBinary is the path in the cache of a program of a commit. Everything that the binary depends on, beside
// the commit and the Go toolchain, is in the name.
func keptBinary(cache, commit string, p parts.Part) string {
	sum := sha256.Sum256([]byte(p.Dir + "\x00" + strings.Join(parts.Args(p, "OUT"), "\x00")))
	return filepath.Join(cache, "releases", commit, p.Name+"-"+hex.EncodeToString(sum[:6]))
}

// keep copies a file so that it is there as a whole or not at all.
func keep(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	if err := errors.Join(out.Chmod(0o755), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}

// inWorktree calls f with a folder that holds the release's commit: a git worktree in the cache, which exists
// only meanwhile. The repository's own working tree, index and branches are not touched. One that an
// interrupted run left is replaced.
func inWorktree(ctx context.Context, repo, cache string, r release, f func(dir string) error) error {
	if err := haveCommit(ctx, repo, r); err != nil {
		return err
	}
	// By repository: several may share the cache, and git lists a worktree in the one that it belongs to.
	sum := sha256.Sum256([]byte(repo))
	dir := filepath.Join(cache, "worktrees", hex.EncodeToString(sum[:6])+"-"+r.commit)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make cache: %w", err)
	}
	unlock, err := parts.Lock(dir + ".lock")
	if err != nil {
		return fmt.Errorf("lock the worktree of release %s: %w", r.version, err)
	}
	defer unlock()
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what an interrupted run left: %w", err)
	}
	// Twice --force: git may still list the folder that was just removed.
	if _, err := git(ctx, repo, "worktree", "add", "--force", "--force", "--detach", dir, r.commit); err != nil {
		return err
	}
	defer func() {
		// Also after ctx has ended, so that git does not go on listing it.
		_, _ = git(context.WithoutCancel(ctx), repo, "worktree", "remove", "--force", dir)
	}()
	return f(dir)
}

// haveCommit returns an error that says what to do if the repository lacks the commit of a release.
func haveCommit(ctx context.Context, repo string, r release) error {
	if _, err := git(ctx, repo, "rev-parse", "--git-dir"); err != nil {
		return fmt.Errorf("release %s is built from commit %s, but %s is not a git repository: use a clone of it: %w", r.version, r.commit, repo, err)
	}
	if _, err := git(ctx, repo, "cat-file", "-e", r.commit+"^{commit}"); err != nil {
		return fmt.Errorf("release %s is built from commit %s, which this clone does not have; fetch it with: git -C %s fetch --depth=1 origin %s", r.version, r.commit, repo, r.commit)
	}
	return nil
}

// git runs git in the repository, without the user's hooks.
func git(ctx context.Context, repo string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", repo, "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}

func sourceCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "source DIR PATH...", Short: "Write files and folders of a previous release (--release) into a folder", Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := findRelease(o.release)
			if err != nil {
				return err
			}
			if r.commit == "" {
				return fmt.Errorf("release %s is this tree: name a previous one with --release", r.version)
			}
			repo, err := parts.FindRepo()
			if err != nil {
				return err
			}
			return source(c.Context(), repo, r, args[0], args[1:])
		},
	}
}

func programsCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "programs DIR NAME...", Short: "Build the programs of images, and write them into a folder", Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			chosen, err := choose(args[1:])
			if err != nil {
				return err
			}
			r, err := findRelease(o.release)
			if err != nil {
				return err
			}
			b, err := o.builder()
			if err != nil {
				return err
			}
			for _, i := range chosen {
				for _, p := range i.programsOf(r) {
					part := p.part(o.stamp(r), r)
					built, err := binaries(c.Context(), b, r, []parts.Part{part})
					if err != nil {
						return err
					}
					to := filepath.Join(args[0], filepath.FromSlash(p.path))
					if err := keep(built[part.Name], to); err != nil {
						return fmt.Errorf("write %s: %w", to, err)
					}
					fmt.Println(to)
				}
			}
			return nil
		},
	}
}

// recording is something that tests of this release compare with what a previous release did. A test writes it
// when it is run in the sources of that release.
type recording struct {
	// pkg is the package, run the test, and files those of the package that are this release's: the recorder.
	pkg, run string
	files    []string
	// to is where the test writes, a file or a folder; %s stands for the version.
	to string
	// args are more flags of the test.
	args []string
}

func recordings(r release) []recording {
	return []recording{
		{
			pkg: "internal/controlplane/pipeline", run: "TestVersionsOverReleases", files: []string{"releases_test.go"},
			to: "internal/controlplane/pipeline/testdata/versions-%s.txt",
		},
		{
			pkg: "test/compat", run: "TestRecord", files: []string{"agent_test.go", "record_test.go", "trace_test.go"},
			to: "internal/protocol/testdata/%s", args: []string{"-release", r.version},
		},
		{
			pkg: "internal/cli/backup", run: "TestRecord", files: []string{"recorded_test.go"},
			to: "internal/cli/backup/testdata/backup-%s.yaml",
		},
		{
			pkg: "internal/controlplane/envoy", run: "TestRecordPair", files: []string{"pair_test.go"},
			to: "test/envoy/testdata/pair-%s.yaml",
		},
	}
}

// rendered are golden files: what a release rendered then, tests of this one compare with what it renders for
// that release now.
func rendered() map[string]string {
	return map[string]string{"internal/lifecycle/render/testdata": "internal/lifecycle/render/recorded/%s"}
}

func recordCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "record", Short: "Record with the sources of a previous release (--release) what tests compare with", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := findRelease(o.release)
			if err != nil {
				return err
			}
			if r.commit == "" {
				return fmt.Errorf("release %s is this tree: name a previous one with --release", r.version)
			}
			b, err := o.builder()
			if err != nil {
				return err
			}
			for from, to := range rendered() {
				if err := copyGolden(c.Context(), b.Repo, r, from, fmt.Sprintf(to, r.version)); err != nil {
					return err
				}
			}
			return inWorktree(c.Context(), b.Repo, b.Cache, r, func(dir string) error {
				for _, x := range recordings(r) {
					if err := x.make(c.Context(), b.Repo, dir, r); err != nil {
						return fmt.Errorf("record %s with release %s: %w", x.pkg, r.version, err)
					}
				}
				return nil
			})
		},
	}
}

// make runs the recorder in the sources of the release at dir.
func (x recording) make(ctx context.Context, repo, dir string, r release) error {
	for _, f := range x.files {
		if err := keep(filepath.Join(repo, x.pkg, f), filepath.Join(dir, x.pkg, f)); err != nil {
			return err
		}
	}
	to := fmt.Sprintf(x.to, r.version)
	say("recording " + to)
	args := append([]string{"test", "-count=1", "-run", "^" + x.run + "$", "./" + x.pkg, "-args", "-record", filepath.Join(repo, to)}, x.args...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// copyGolden replaces a folder by golden files of a release, which have an in.yaml and an out.yaml.
func copyGolden(ctx context.Context, repo string, r release, from, to string) error {
	tmp, err := os.MkdirTemp("", "golden-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := source(ctx, repo, r, tmp, []string{from}); err != nil {
		return err
	}
	outs, err := filepath.Glob(filepath.Join(tmp, from, "*", "out.yaml"))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(repo, to)); err != nil {
		return err
	}
	say("recording " + to)
	for _, out := range outs {
		if err := os.CopyFS(filepath.Join(repo, to, filepath.Base(filepath.Dir(out))), os.DirFS(filepath.Dir(out))); err != nil {
			return err
		}
	}
	return nil
}

// source writes files and folders of a release's commit into a folder, by their paths in the repository.
func source(ctx context.Context, repo string, r release, to string, paths []string) error {
	if err := haveCommit(ctx, repo, r); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", repo, "archive", r.commit, "--"}, paths...)...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	archive, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("read commit %s: %w", r.commit, err)
	}
	unpacked := untar(archive, to)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("read commit %s: %w: %s", r.commit, err, strings.TrimSpace(complaints.String()))
	}
	return unpacked
}

// untar writes the files of an archive into a folder.
func untar(archive io.Reader, to string) error {
	for in := tar.NewReader(archive); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) {
			continue
		}
		file := filepath.Join(to, h.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		text, err := io.ReadAll(in)
		if err != nil {
			return fmt.Errorf("read %s: %w", h.Name, err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
}
