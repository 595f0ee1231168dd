// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pack

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// TestWriteByDigest: the archive's index names the image by its digest, and
// holds the blob of that digest; the same content has the same name.
func TestWriteByDigest(t *testing.T) {
	dir := t.TempDir()
	layer, err := NewLayer(dir, []Entry{{Path: "a", Data: []byte("b")}})
	if err != nil {
		t.Fatal(err)
	}
	i := Image{Repository: "tulle.local/x", Layers: []*Layer{layer}, Entrypoint: []string{"/a"}}
	ref, file, err := WriteByDigest(dir, i)
	if err != nil {
		t.Fatal(err)
	}
	digest, found := strings.CutPrefix(ref, "tulle.local/x@sha256:")
	if !found {
		t.Fatalf("reference %s", ref)
	}
	members := untar(t, file)
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(members["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != "sha256:"+digest || index.Manifests[0].Annotations["io.containerd.image.name"] != ref {
		t.Errorf("index %+v, want %s", index, ref)
	}
	if len(members["blobs/sha256/"+digest]) == 0 {
		t.Error("no manifest of that digest")
	}
	if again, _, err := WriteByDigest(dir, i); err != nil || again != ref {
		t.Errorf("again: %s, %v", again, err)
	}
	i.Entrypoint = []string{"/b"}
	if other, _, err := WriteByDigest(dir, i); err != nil || other == ref {
		t.Errorf("another image has the same name %s, %v", other, err)
	}
}

func untar(t *testing.T, file string) map[string][]byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	members := map[string][]byte{}
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return members
		}
		if err != nil {
			t.Fatal(err)
		}
		if members[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
