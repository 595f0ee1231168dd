// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pack

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// WriteByDigest packs an image as an OCI archive into folder dir. Its
// reference is REPOSITORY@DIGEST, for whoever would pull a tag again and again
// (the kubelet does not pull what it has by digest). The Tag is not used.
func WriteByDigest(dir string, i Image) (ref, file string, err error) {
	img, err := build(i)
	if err != nil {
		return "", "", fmt.Errorf("pack %s: %w", i.Repository, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", "", fmt.Errorf("hash %s: %w", i.Repository, err)
	}
	ref = i.Repository + "@" + digest.String()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", fmt.Errorf("make image folder: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, "oci-*")
	if err != nil {
		return "", "", fmt.Errorf("make folder for %s: %w", ref, err)
	}
	defer os.RemoveAll(tmp)
	tree, err := layout.Write(tmp, empty.Index)
	if err != nil {
		return "", "", fmt.Errorf("write %s: %w", ref, err)
	}
	named := layout.WithAnnotations(map[string]string{"io.containerd.image.name": ref})
	if err := tree.AppendImage(img, named); err != nil {
		return "", "", fmt.Errorf("write %s: %w", ref, err)
	}
	file = filepath.Join(dir, filepath.Base(i.Repository)+"-"+digest.Hex[:12]+".tar")
	if err := archive(tmp, file); err != nil {
		return "", "", fmt.Errorf("write %s: %w", ref, err)
	}
	return ref, file, nil
}

// archive puts the files below a folder into a tar.
func archive(folder, file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		info, err := in.Stat()
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: 0o644}); err != nil {
			return err
		}
		_, err = io.Copy(w, in)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Close()
}
