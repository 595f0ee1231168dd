// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/testing/models"
	"tulle.dev/tulle/internal/testing/xdsyaml"
)

// TestValidate asks the real Envoy, and the one of the release before, about every golden output in
// the repository, in the company of the resources that every proxy holds.
func TestValidate(t *testing.T) {
	t.Run("current", func(t *testing.T) { validateAll(t, binary(t)) })
	t.Run("before", func(t *testing.T) { validateAll(t, before(t)) })
}

func validateAll(t *testing.T, bin string) {
	t.Helper()
	pki := newAuthority(t)
	files := goldens(t, filepath.Join("..", ".."))
	if len(files) < 15 {
		t.Fatalf("only %d golden outputs found: is the walk right?", len(files))
	}
	for _, f := range files {
		t.Run(strings.ReplaceAll(filepath.ToSlash(f), "../", ""), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			resources, err := xdsyaml.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := validate(t, bin, newStatic(withCommon(resources)).bootstrap(t, pki)); err != nil {
				t.Errorf("Envoy refuses it: %v\n%s", err, out)
			} else if strings.Contains(strings.ToLower(out), "deprecat") {
				t.Errorf("Envoy accepts it, but not for long:\n%s", out)
			}
		})
	}
}

// TestValidateRandom asks about random models, sane and insane: Envoy refuses none of what is made of them.
func TestValidateRandom(t *testing.T) {
	bin, pki := binary(t), newAuthority(t)
	seed := uint64(time.Now().UnixNano())
	for i := range uint64(25) {
		if out, err := validate(t, bin, newStatic(models.Random(seed+i).World()).bootstrap(t, pki)); err != nil {
			t.Fatalf("seed %d: Envoy refuses it: %v\n%s", seed+i, err, out)
		}
	}
}

// TestValidateRefuses shows that a refusal is seen: the same way with one thing wrong.
func TestValidateRefuses(t *testing.T) {
	frontend := model.Frontend{
		Key:       model.PortKey{Service: model.Key{Namespace: "a", Name: "b"}, Port: 80},
		Addresses: []string{"198.19.0.1"}, Protocol: model.HTTP,
	}
	table := envoy.Routes(model.RouteTable{Name: "out/a/b/80", Hosts: []model.VirtualHost{{Domains: []string{"a.example"}}}})
	rc := table.Message.(*routev3.RouteConfiguration)
	rc.VirtualHosts = append(rc.VirtualHosts, &routev3.VirtualHost{Name: "again", Domains: []string{"a.example"}})
	resources := withCommon([]envoy.Resource{envoy.Listener(frontend), table})
	out, err := validate(t, binary(t), newStatic(resources).bootstrap(t, newAuthority(t)))
	if err == nil || !strings.Contains(out, "a.example") {
		t.Errorf("a domain that stands twice: %v\n%s", err, out)
	}
}

func withCommon(resources []envoy.Resource) []envoy.Resource {
	held := map[envoy.Ref]bool{}
	for _, r := range resources {
		held[r.Ref()] = true
	}
	for _, r := range envoy.Common(model.Settings{}) {
		if !held[r.Ref()] {
			resources = append(resources, r)
		}
	}
	return resources
}

// goldens finds every xds.yaml below root.
func goldens(t *testing.T, root string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "xds.yaml" && strings.Contains(path, "testdata") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func validate(t *testing.T, bin string, bootstrap []byte) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy.json")
	if err := os.WriteFile(path, bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), bin, "--mode", "validate", "--disable-hot-restart", "-l", "warning", "-c", path).CombinedOutput()
	return string(out), err
}
