// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	repo  = "../../.."
	usual = "tulle-system" // the namespace that config/ names
	other = "mesh-system"
)

// overlay builds a kustomization of a user that has some of config/ as its resources.
func overlay(t *testing.T, more string, resources ...string) []Object {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(repo)
	if err != nil {
		t.Fatal(err)
	}
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n" + more + "\nresources:\n"
	for _, r := range resources {
		path, err := filepath.Rel(dir, filepath.Join(root, r))
		if err != nil {
			t.Fatal(err)
		}
		text += "- " + path + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := Load(dir, ".")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// mentions lists where an object has a text, as paths of fields.
func mentions(path string, v any, text string) []string {
	var out []string
	switch v := v.(type) {
	case string:
		if strings.Contains(v, text) {
			out = append(out, path)
		}
	case map[string]any:
		for k, e := range v {
			if strings.Contains(k, text) {
				out = append(out, path+"."+k)
			}
			out = append(out, mentions(path+"."+k, e, text)...)
		}
	case []any:
		for i, e := range v {
			out = append(out, mentions(fmt.Sprintf("%s[%d]", path, i), e, text)...)
		}
	}
	return out
}

// TestAnyNamespace: a kustomization with another namespace leaves the usual one nowhere, whichever part
// of config/ it takes: kustomize sees fields that it knows, and nothing inside strings.
func TestAnyNamespace(t *testing.T) {
	for _, resources := range [][]string{
		{"config/default"},
		{"config/default", "config/prometheus"},
		{"config/prometheus"},
		{"config/rbac", "config/manager"},
		{"config/rbac"},
		{"config/manager"},
		{"config/webhook"},
		{"config/network-policies"},
	} {
		t.Run(strings.Join(resources, ","), func(t *testing.T) {
			all := overlay(t, "namespace: "+other, resources...)
			for _, o := range all {
				for _, at := range mentions("", map[string]any(o), usual) {
					t.Errorf("%s %s: %s is left at %s", o.Kind(), o.Name(), usual, at)
				}
			}
		})
	}
}

// TestOverlayIsWhole: with another namespace, config/default is the same installation: the operator, its
// account and its rights are in that namespace, and the policies are as they were, for they name no
// namespace. That they hold the account of any namespace is seen by test/api TestFenceAnyNamespace.
func TestOverlayIsWhole(t *testing.T) {
	base, err := Load(repo, "config/default")
	if err != nil {
		t.Fatal(err)
	}
	moved := overlay(t, "namespace: "+other, "config/default")
	var rename func(v any) any
	rename = func(v any) any {
		switch v := v.(type) {
		case string:
			if v == usual {
				return other
			}
		case map[string]any:
			for k := range v {
				v[k] = rename(v[k])
			}
		case []any:
			for i := range v {
				v[i] = rename(v[i])
			}
		}
		return v
	}
	want, policies := map[string]any{}, 0
	for _, o := range base {
		want[o.Kind()+"/"+o.Name()] = rename(map[string]any(o))
	}
	want["Namespace/"+other] = want["Namespace/"+usual]
	delete(want, "Namespace/"+usual)
	got := map[string]any{}
	for _, o := range moved {
		got[o.Kind()+"/"+o.Name()] = map[string]any(o)
		if strings.HasPrefix(o.Kind(), "ValidatingAdmissionPolicy") {
			// Kustomize takes kinds that it does not know for namespaced; the API server ignores it.
			delete(o.Map("metadata"), "namespace")
		}
		if o.Kind() == "ValidatingAdmissionPolicy" && (strings.HasPrefix(o.Name(), "tulle-operator-") || o.Name() == "tulle-controlplane") { // the fences
			policies++
			if held := accountOf(o); held != "tulle-operator" && o.Name() != "tulle-controlplane" {
				t.Errorf("%s holds the account %q", o.Name(), held)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-config/default, renamed +overlay:\n%s", diff)
	}
	d, err := Find(moved, "Deployment", nil)
	if err != nil {
		t.Fatal(err)
	}
	if d.Text("spec", "template", "spec", "serviceAccountName") != "tulle-operator" || d.Namespace() != other || policies < 12 {
		t.Errorf("Deployment in %s with account %s, %d policies", d.Namespace(), d.Text("spec", "template", "spec", "serviceAccountName"), policies)
	}
}

// TestImagesFollow: with other images in config/default, the policy allows those that the operator is told
// to run.
func TestImagesFollow(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repo, "config"))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "default", "kustomization.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "images:\n- {name: tulle.local/tulle, newName: example.com/t, newTag: \"1\"}\n- {name: tulle.local/tulle-proxy, newName: example.com/p, newTag: \"1\"}\n"...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := Load(dir, "default")
	if err != nil {
		t.Fatal(err)
	}
	role, err := Find(all, "ClusterRole", func(o Object) bool { return o.Name() == ImagesRole })
	if err != nil {
		t.Fatal(err)
	}
	if a := role.Map("metadata", "annotations"); a["tulle.dev/image"] != "example.com/t:1" || a["tulle.dev/proxy-image"] != "example.com/p:1" {
		t.Errorf("the policy allows %v", a)
	}
	base, err := Load(repo, "config/default")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range ReplaceImages(base, Images{Manager: "a", Proxy: "b"}) {
		for _, at := range mentions("", map[string]any(o), "tulle.local/") {
			t.Errorf("%s %s: an image is left at %s", o.Kind(), o.Name(), at)
		}
	}
}

// accountOf is the name of the ServiceAccount whose requests a policy is about, in any namespace; else "".
func accountOf(policy Object) string {
	for _, c := range policy.List("spec", "matchConditions") {
		c := Object(c.(map[string]any))
		rest, ok := strings.CutPrefix(c.Text("expression"), "request.userInfo.username.startsWith('system:serviceaccount:') && request.userInfo.username.endsWith(':")
		if name, ends := strings.CutSuffix(rest, "')"); ok && ends && c.Text("name") == "by-the-operator" {
			return name
		}
	}
	return ""
}
