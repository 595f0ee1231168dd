// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pack

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func program(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// write packs an image of one program and returns its reference and file.
func write(t *testing.T, source, tag string) (ref, file string) {
	t.Helper()
	layer, err := NewLayer(t.TempDir(), append(Base(1337, 1337), Entry{Path: "usr/local/bin/app", Source: source}))
	if err != nil {
		t.Fatal(err)
	}
	ref, file, err = Write(t.TempDir(), Image{
		Repository: "tulle.local/app", Tag: tag, Layers: []*Layer{layer}, Entrypoint: []string{"/usr/local/bin/app"}, UID: 1337, GID: 1337,
	})
	if err != nil {
		t.Fatal(err)
	}
	return ref, file
}

func TestWrite(t *testing.T) {
	ref, file := write(t, program(t, "hello"), "dev")
	if ref != "tulle.local/app:dev" {
		t.Errorf("reference %s", ref)
	}
	img, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "1337:1337" || config.OS != "linux" || len(config.Config.Entrypoint) != 1 {
		t.Errorf("configuration: %+v", config.Config)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	got := map[string]int64{}
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = h.Mode
		if h.Uid != 0 || h.Gid != 0 || !h.ModTime.Equal(time.Unix(0, 0)) && !h.ModTime.IsZero() {
			t.Errorf("%s belongs to %d:%d and is of %s", h.Name, h.Uid, h.Gid, h.ModTime)
		}
	}
	want := map[string]int64{
		"etc/": 0o755, "etc/group": 0o644, "etc/passwd": 0o644, "tmp/": 0o1777,
		"usr/": 0o755, "usr/local/": 0o755, "usr/local/bin/": 0o755, "usr/local/bin/app": 0o755,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Without a tag the content names the image: same content, same name.
func TestContentTag(t *testing.T) {
	one, _ := write(t, program(t, "one"), "")
	again, _ := write(t, program(t, "one"), "")
	two, _ := write(t, program(t, "two"), "")
	if one != again {
		t.Errorf("the same content is %s and %s", one, again)
	}
	if one == two {
		t.Errorf("two contents are both %s", one)
	}
}

func TestOpenLayer(t *testing.T) {
	made, err := NewLayer(t.TempDir(), []Entry{{Path: "a", Data: []byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := OpenLayer(made.File())
	if err != nil {
		t.Fatal(err)
	}
	if *opened != *made {
		t.Errorf("opened %+v, made %+v", opened, made)
	}
	if _, err := OpenLayer(filepath.Join(t.TempDir(), "x.tar")); err == nil {
		t.Error("opened a layer that is not there")
	}
}

func TestMissingSource(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewLayer(dir, []Entry{{Path: "a", Source: "/no/such/file"}}); err == nil {
		t.Fatal("packed a file that is not there")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
