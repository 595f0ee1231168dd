// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pack

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// An Image is what to pack.
type Image struct {
	// Repository is the image's name without a tag, "tulle.local/tulle".
	Repository string
	// Tag is the tag; empty means the first 12 digits of the image's own
	// digest, so that another content is always another name and a node never
	// runs an old image under a new one's name.
	Tag string
	// Layers are stacked in this order; what changes least comes first.
	Layers []*Layer
	// Entrypoint is the program and its first arguments.
	Entrypoint []string
	// UID and GID are what it runs as.
	UID, GID int
	// Labels are the image's labels.
	Labels map[string]string
}

// Write packs an image as a `docker save` archive, which containerd, docker and
// podman can load, into folder dir, over the image's previous one. It returns
// the reference and the file.
func Write(dir string, i Image) (ref, file string, err error) {
	img, err := build(i)
	if err != nil {
		return "", "", fmt.Errorf("pack %s: %w", i.Repository, err)
	}
	tag := i.Tag
	if tag == "" {
		digest, err := img.Digest()
		if err != nil {
			return "", "", fmt.Errorf("hash %s: %w", i.Repository, err)
		}
		tag = digest.Hex[:12]
	}
	ref = i.Repository + ":" + tag
	parsed, err := name.NewTag(ref)
	if err != nil {
		return "", "", fmt.Errorf("image name: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", fmt.Errorf("make image folder: %w", err)
	}
	file = filepath.Join(dir, filepath.Base(i.Repository)+".tar")
	tmp := fmt.Sprintf("%s.new%d", file, os.Getpid())
	defer os.Remove(tmp)
	if err := tarball.WriteToFile(tmp, parsed, img); err != nil {
		return "", "", fmt.Errorf("write %s: %w", ref, err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return "", "", fmt.Errorf("keep %s: %w", ref, err)
	}
	return ref, file, nil
}

func build(i Image) (v1.Image, error) {
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	for _, l := range i.Layers {
		var err error
		if img, err = mutate.AppendLayers(img, l); err != nil {
			return nil, err
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{
		Entrypoint: i.Entrypoint,
		Env:        []string{"PATH=/usr/local/bin:/usr/bin:/bin:/"},
		WorkingDir: "/",
		// Numbers, not names: the kubelet must see that it is not root.
		User:   strconv.Itoa(i.UID) + ":" + strconv.Itoa(i.GID),
		Labels: i.Labels,
	}
	return mutate.ConfigFile(img, config)
}

// Base is what every image has besides its programs: names for the users, and
// a folder for temporary files. There is no shell and nothing else.
func Base(uid, gid int) []Entry {
	passwd := fmt.Sprintf("root:x:0:0:root:/:/sbin/nologin\napp:x:%d:%d:app:/:/sbin/nologin\n", uid, gid)
	group := fmt.Sprintf("root:x:0:\napp:x:%d:\n", gid)
	return []Entry{
		{Path: "etc/passwd", Data: []byte(passwd), Mode: 0o644},
		{Path: "etc/group", Data: []byte(group), Mode: 0o644},
		{Path: "tmp", Mode: 0o1777},
	}
}
