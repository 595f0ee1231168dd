// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package olm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The two releases: the one before, and the one of bundle/.
const (
	older = "0.2.0"
	newer = "0.3.0"
)

const csvFile = "manifests/tulle.clusterserviceversion.yaml"

// offer puts bundles into the catalog that the Subscription looks at.
func offer(t *testing.T, bundles ...string) {
	t.Helper()
	name := os.Getenv("TULLE_OLM_CLUSTER")
	if name == "" {
		t.Fatal("this test needs a cluster with OLM: run it by make test-olm")
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(repo, "bin", "olm"), append([]string{"--name", name, "catalog"}, bundles...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("offer %v: %v\n%s", bundles, err, out)
	}
}

// olderTree is the folder with the files of the older release that make test-olm gets from its commit: its
// bundle, its sample Mesh and its admission policies.
func olderTree(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("TULLE_OLDER_TREE")
	if dir == "" {
		t.Fatalf("this test needs the files of release %s: run it by make test-olm", older)
	}
	return dir
}

// olderBundle writes the bundle of the older release into a folder, with the tags that make test-olm loads its
// images by. Nothing else of it is changed.
func olderBundle(tree, to string) error {
	if err := os.CopyFS(to, os.DirFS(filepath.Join(tree, "bundle"))); err != nil {
		return fmt.Errorf("copy the bundle: %w", err)
	}
	path := filepath.Join(to, csvFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the older release: %w", err)
	}
	if !bytes.Contains(text, []byte("name: tulle.v"+older+"\n")) {
		return fmt.Errorf("%s is not of %s", path, older)
	}
	tagged := strings.NewReplacer("tulle.local/tulle:dev", "tulle.local/tulle:"+older, "tulle.local/tulle-proxy:dev", "tulle.local/tulle-proxy:"+older).Replace(string(text))
	if tagged == string(text) {
		return fmt.Errorf("%s names other images", path)
	}
	return os.WriteFile(path, []byte(tagged), 0o644)
}
