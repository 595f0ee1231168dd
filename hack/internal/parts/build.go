// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package parts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Builder turns parts into files. It may be used by several processes at
// once (each binary is built under a file lock), but not by several goroutines.
type Builder struct {
	// Repo is the repository's folder.
	Repo string
	// Cache is the folder of the cache; see CacheDir.
	Cache string
	// Progress receives one line per event; nil is silence.
	Progress func(line string)

	goVersion string
}

// NewBuilder returns the builder of the repository around the working
// directory. An empty cache is the user's; see CacheDir.
func NewBuilder(cache string, progress func(line string)) (*Builder, error) {
	repo, err := FindRepo()
	if err != nil {
		return nil, err
	}
	if cache == "" {
		if cache, err = CacheDir(); err != nil {
			return nil, err
		}
	}
	return &Builder{Repo: repo, Cache: cache, Progress: progress}, nil
}

// Build returns the path of every part's binary by part name, building those
// that are missing, in order, with "[n/m]" progress over the missing ones.
func (b *Builder) Build(ctx context.Context, list []Part) (map[string]string, error) {
	if err := b.readGoVersion(ctx); err != nil {
		return nil, err
	}
	paths := map[string]string{}
	var missing []Part
	for _, p := range list {
		path, err := b.path(p)
		if err != nil {
			return nil, err
		}
		paths[p.Name] = path
		if _, err := os.Stat(path); err != nil || p.Local {
			missing = append(missing, p)
		}
	}
	var need []Debian
	for _, p := range missing {
		need = append(need, p.Debian...)
	}
	if err := Install(ctx, need, b.say); err != nil {
		return nil, err
	}
	for i, p := range missing {
		if err := b.buildOne(ctx, p, paths[p.Name], fmt.Sprintf("[%d/%d]", i+1, len(missing))); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

func (b *Builder) path(p Part) (string, error) {
	if p.Local {
		// By repository: several checkouts may share the cache.
		sum := sha256.Sum256([]byte(b.Repo))
		return filepath.Join(b.Cache, "local", hex.EncodeToString(sum[:6]), p.Name), nil
	}
	key, err := Key(b.Repo, p, b.goVersion)
	if err != nil {
		return "", err
	}
	return filepath.Join(b.Cache, "bin", p.Name+"-"+key), nil
}

func (b *Builder) buildOne(ctx context.Context, p Part, path, count string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make cache: %w", err)
	}
	unlock, err := Lock(path + ".lock")
	if err != nil {
		return fmt.Errorf("lock the build of %s: %w", p.Title, err)
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil && !p.Local {
		return nil // another process built it while this one waited
	}
	tmp := path
	if !p.Local { // a local one is overwritten: go then links only if something changed
		tmp = fmt.Sprintf("%s.new%d", path, os.Getpid())
		defer os.Remove(tmp)
	}
	cmd := exec.CommandContext(ctx, "go", Args(p, tmp)...)
	cmd.Dir = filepath.Join(b.Repo, p.Dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo(p), "GOFLAGS=", "GOWORK=off")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if !p.Local {
		b.say(fmt.Sprintf("%s building %s ...", count, p.Title))
	}
	stop := b.tick(func() string {
		return fmt.Sprintf("%s building %s ... %s", count, p.Title, time.Since(start).Round(time.Second))
	})
	err = cmd.Run()
	stop()
	if err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", p.Title, p.Dir, err, lastLines(out.String(), 30))
	}
	if p.Local {
		if took := time.Since(start); took > 2*time.Second {
			b.say(fmt.Sprintf("built %s in %s", p.Title, took.Round(100*time.Millisecond)))
		}
		return nil
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("keep %s: %w", p.Title, err)
	}
	b.say(fmt.Sprintf("%s built %s in %s", count, p.Title, time.Since(start).Round(100*time.Millisecond)))
	return nil
}

// tick repeats a progress line every 15 seconds until the returned function is
// called: a build of minutes should not look like a hang.
func (b *Builder) tick(line func() string) (stop func()) {
	done := make(chan struct{})
	go func() {
		t := time.NewTicker(15 * time.Second)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
				b.say(line())
			}
		}
	}()
	return func() { close(done) }
}

func (b *Builder) say(line string) {
	if b.Progress != nil {
		b.Progress(line)
	}
}

func (b *Builder) readGoVersion(ctx context.Context) error {
	if b.goVersion != "" {
		return nil
	}
	// The version that will build: asked in the folder of a module, because
	// its go line may select another toolchain.
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Dir = filepath.Join(b.Repo, "hack", "parts", "runtime")
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("no `go` on PATH: install Go 1.21 or later from https://go.dev/dl/ (Debian's own package is too old), which fetches the toolchain that go.mod names")
	}
	if err != nil {
		return fmt.Errorf("ask Go for its version: %w", err)
	}
	b.goVersion = strings.TrimSpace(string(out))
	return nil
}

func cgo(p Part) string {
	if p.Cgo {
		return "1"
	}
	return "0"
}

// Lock takes an exclusive lock on a file that it creates, and waits for it.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
