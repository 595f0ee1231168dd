// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// An Entry is one file, folder or link of a layer. All belong to root: what a
// container runs as should not own its programs.
type Entry struct {
	// Path in the image, without a leading slash.
	Path string
	// Source is the file on this machine; or Data is the content; or Target
	// is where a symbolic link leads; or, with none, it is a folder.
	Source string
	Data   []byte
	Target string
	// Mode is the permission bits; 0 means 0755.
	Mode int64
}

// A Layer is a layer of an image, held in an uncompressed tar file. Local
// images are loaded from disk, where compressing costs more than it saves.
// It implements v1.Layer.
type Layer struct {
	file string
	hash v1.Hash
	size int64
}

// NewLayer writes the entries to a tar in folder dir, named by its digest, and
// returns it as a layer. Folders above the entries are added.
func NewLayer(dir string, entries []Entry) (*Layer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make layer folder: %w", err)
	}
	f, err := os.CreateTemp(dir, "new-*")
	if err != nil {
		return nil, fmt.Errorf("make layer: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := writeTar(f, withFolders(entries)); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reread layer: %w", err)
	}
	hash, size, err := v1.SHA256(f)
	if err != nil {
		return nil, fmt.Errorf("hash layer: %w", err)
	}
	name := filepath.Join(dir, hash.Hex+".tar")
	if err := os.Rename(f.Name(), name); err != nil {
		return nil, fmt.Errorf("keep layer: %w", err)
	}
	return &Layer{name, hash, size}, nil
}

// OpenLayer returns a layer that NewLayer has made before, by its file.
func OpenLayer(file string) (*Layer, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("open layer: %w", err)
	}
	hash, err := v1.NewHash("sha256:" + strings.TrimSuffix(filepath.Base(file), ".tar"))
	if err != nil {
		return nil, fmt.Errorf("open layer %s: %w", file, err)
	}
	return &Layer{file, hash, info.Size()}, nil
}

// File is the path of the layer's tar.
func (l *Layer) File() string { return l.file }

// Digest implements v1.Layer.
func (l *Layer) Digest() (v1.Hash, error) { return l.hash, nil }

// DiffID implements v1.Layer.
func (l *Layer) DiffID() (v1.Hash, error) { return l.hash, nil }

// Compressed implements v1.Layer; nothing is compressed.
func (l *Layer) Compressed() (io.ReadCloser, error) { return os.Open(l.file) }

// Uncompressed implements v1.Layer.
func (l *Layer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.file) }

// Size implements v1.Layer.
func (l *Layer) Size() (int64, error) { return l.size, nil }

// MediaType implements v1.Layer.
func (l *Layer) MediaType() (types.MediaType, error) { return types.OCIUncompressedLayer, nil }

// withFolders sorts the entries and adds the folders that they are in.
func withFolders(entries []Entry) []Entry {
	all := map[string]Entry{}
	for _, e := range entries {
		for d := path.Dir(e.Path); d != "." && d != "/"; d = path.Dir(d) {
			if _, ok := all[d]; !ok {
				all[d] = Entry{Path: d}
			}
		}
	}
	for _, e := range entries {
		all[e.Path] = e
	}
	sorted := make([]Entry, 0, len(all))
	for _, e := range all {
		sorted = append(sorted, e)
	}
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Path < sorted[j].Path })
	return sorted
}

func writeTar(w io.Writer, entries []Entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		if err := writeEntry(t, e); err != nil {
			return fmt.Errorf("pack %s: %w", e.Path, err)
		}
	}
	return t.Close()
}

func writeEntry(t *tar.Writer, e Entry) error {
	h := &tar.Header{Name: e.Path, Mode: e.Mode, Format: tar.FormatPAX}
	if h.Mode == 0 {
		h.Mode = 0o755
	}
	var content io.Reader = bytes.NewReader(e.Data)
	switch {
	case e.Target != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.Target, 0o777
	case e.Source != "":
		f, err := os.Open(e.Source)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		h.Typeflag, h.Size, content = tar.TypeReg, info.Size(), f
	case e.Data != nil:
		h.Typeflag, h.Size = tar.TypeReg, int64(len(e.Data))
	default:
		h.Typeflag, h.Name = tar.TypeDir, e.Path+"/"
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(t, content)
	return err
}
