// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package olm

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/api/pkg/operators/v1alpha1"
	"github.com/operator-framework/api/pkg/validation"
	"github.com/operator-framework/api/pkg/validation/errors"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/hack/bundle/source"
)

const repo = "../../.."

// TestValidators runs every validator that OperatorHub runs, and more: no error, no warning.
func TestValidators(t *testing.T) {
	dir := write(t, generate(t))
	for _, r := range validate(t, dir, map[string]string{"k8s-version": "1.36", "file": "bundle.Dockerfile"}) {
		for _, e := range r {
			t.Error(e)
		}
	}
}

// TestValidatorsSee makes sure that the validators look at this bundle at all.
func TestValidatorsSee(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"no minKubeVersion":        {"  minKubeVersion: 1.29.0\n", "", "minKubeVersion"},
		"no description of a kind": {"description: A service mesh, made and kept from its version. There is one active\n        Mesh in a cluster.", "description: \"\"", "empty description"},
		"an unknown capability":    {"capabilities: ", "capabilities: Very ", "capabilities"},
		"an unknown category":      {"categories: ", "categories: Knitting,", "Knitting"},
		"no requests":              {"requests:\n                    cpu: 20m\n                    memory: 48Mi", "claims: []", "resource requests"},
		"a bad link":               {"url: https://tulle.dev/docs", "url: tulle docs", "url"},
		"no example":               {"\"kind\": \"Mesh\"", "\"kind\": \"Mush\"", "example"},
	} {
		t.Run(name, func(t *testing.T) {
			files := generate(t)
			const csv = "bundle/manifests/tulle.clusterserviceversion.yaml"
			changed := strings.ReplaceAll(string(files[csv]), c.old, c.new)
			if changed == string(files[csv]) {
				t.Fatalf("the bundle has no %q", c.old)
			}
			files[csv] = []byte(changed)
			var all []string
			for _, r := range validate(t, write(t, files), map[string]string{"k8s-version": "1.36"}) {
				for _, e := range r {
					all = append(all, e.Error())
				}
			}
			if !strings.Contains(strings.Join(all, "\n"), c.want) {
				t.Errorf("the validators say nothing of %q: %q", c.want, all)
			}
		})
	}
}

// TestRightsStayWhereTheyAre: OLM grants a ClusterServiceVersion's namespaced
// permissions in the whole cluster when it is installed for all namespaces.
func TestRightsStayWhereTheyAre(t *testing.T) {
	csv := bundle(t, write(t, generate(t))).CSV
	s := csv.Spec.InstallStrategy.StrategySpec
	if len(s.Permissions) > 0 {
		t.Errorf("namespaced permissions, which OLM would grant everywhere: %v", s.Permissions)
	}
	if len(s.ClusterPermissions) != 1 || s.ClusterPermissions[0].ServiceAccountName != "tulle-operator" {
		t.Fatalf("want the permissions of tulle-operator, got %v", s.ClusterPermissions)
	}
	for _, r := range s.ClusterPermissions[0].Rules {
		for _, everywhere := range []string{"secrets", "roles", "rolebindings"} {
			if slices.Contains(r.Resources, everywhere) {
				t.Errorf("a right on %s in every namespace: %v", everywhere, r)
			}
		}
	}
	if len(s.DeploymentSpecs) != 1 || s.DeploymentSpecs[0].Spec.Template.Spec.ServiceAccountName != "tulle-operator" {
		t.Errorf("want one Deployment of tulle-operator, got %v", s.DeploymentSpecs)
	}
}

// TestAnyNamespace: the bundle suggests a namespace and depends on none. Its RoleBinding names the
// operator's account without a namespace, which is the account of the namespace that OLM puts it in.
func TestAnyNamespace(t *testing.T) {
	bound := 0
	for path, text := range generate(t) {
		if !strings.HasSuffix(path, ".yaml") {
			continue
		}
		var o source.Object
		if err := yaml.Unmarshal(text, &o); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, suggestion := range []string{"operatorframework.io/suggested-namespace", "operatorframework.io/suggested-namespace-template"} {
			delete(o.Map("metadata", "annotations"), suggestion)
		}
		rest, err := o.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(rest), "tulle-system") {
			t.Errorf("%s names tulle-system:\n%s", path, rest)
		}
		if o.Kind() != "RoleBinding" {
			continue
		}
		for _, s := range o.List("subjects") {
			if diff := cmp.Diff(map[string]any{"kind": "ServiceAccount", "name": o.Name()}, s); diff != "" {
				t.Errorf("%s binds (-want +got):\n%s", path, diff)
			}
			bound++
		}
	}
	if bound != 2 {
		t.Errorf("%d subjects are bound in the operator's namespace, want tulle-operator and tulle-debug", bound)
	}
}

// TestTyped reads the ClusterServiceVersion strictly: a misspelt field of the base would be lost silently.
func TestTyped(t *testing.T) {
	text := generate(t)["bundle/manifests/tulle.clusterserviceversion.yaml"]
	var csv v1alpha1.ClusterServiceVersion
	if err := yaml.UnmarshalStrict(text, &csv); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"alm-examples", "operatorframework.io/initialization-resource", "operatorframework.io/suggested-namespace-template"} {
		if !json.Valid([]byte(csv.Annotations[key])) {
			t.Errorf("annotation %s is no JSON: %s", key, csv.Annotations[key])
		}
	}
}

// TestUnknownKind: what OLM can't install is an error, not silence.
func TestUnknownKind(t *testing.T) {
	all, err := source.Load(repo, "config/manifests")
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, source.Object{"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": "late"}})
	if _, err := place(all); err == nil || !strings.Contains(err.Error(), "Job (late)") {
		t.Errorf("want an error about the Job, got %v", err)
	}
}

// TestImages: a release names its own images everywhere.
func TestImages(t *testing.T) {
	files, err := Generate(repo, source.Images{Manager: "example.com/t@sha256:aa", Proxy: "example.com/p:1"})
	if err != nil {
		t.Fatal(err)
	}
	csv := bundle(t, write(t, files)).CSV
	if got := csv.Annotations["containerImage"]; got != "example.com/t@sha256:aa" {
		t.Errorf("containerImage %s", got)
	}
	want := []v1alpha1.RelatedImage{{Name: "operator", Image: "example.com/t@sha256:aa"}, {Name: "proxy", Image: "example.com/p:1"}}
	if diff := cmp.Diff(want, csv.Spec.RelatedImages); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(string(files["bundle/manifests/tulle.clusterserviceversion.yaml"]), "tulle.local") {
		t.Error("the images of config/default are still named")
	}
}

func TestSkipRange(t *testing.T) {
	for release, want := range map[string]string{
		"0.1.0": ">=0.0.0 <0.1.0", "0.2.0": ">=0.1.0 <0.2.0", "1.3.2": ">=1.2.0 <1.3.2", "2.0.0": ">=2.0.0 <2.0.0",
	} {
		if got, err := skipRange(release); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", release, got, err, want)
		}
	}
	if _, err := skipRange("next"); err == nil {
		t.Error("a release that is none is taken")
	}
}

func TestPreviousRelease(t *testing.T) {
	for release, want := range map[string]string{"0.3.0": "0.2.0", "0.3.2": "0.3.1", "1.0.0": "", "next": ""} {
		if got := previous(release); got != want {
			t.Errorf("%s: %q, want %q", release, got, want)
		}
	}
}

func TestTitle(t *testing.T) {
	for path, want := range map[string]string{
		"version": "Version", "controlPlane.replicas": "Control plane replicas", "mtls.mode": "mTLS mode",
	} {
		if got := title(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func validate(t *testing.T, dir string, options map[string]string) [][]errors.Error {
	t.Helper()
	b := bundle(t, dir)
	objects := []any{b, b.CSV, options}
	for _, crd := range b.V1CRDs {
		objects = append(objects, crd)
	}
	for _, o := range b.Objects {
		objects = append(objects, o)
	}
	// The library's AllValidators, but for the one that wants docker and published images.
	results := validation.DefaultBundleValidators.WithValidators(
		validation.OperatorHubV2Validator, validation.StandardCategoriesValidator, validation.StandardCapabilitiesValidator,
		validation.CommunityOperatorValidator, validation.GoodPracticesValidator, validation.AlphaDeprecatedAPIsValidator,
		validation.ObjectValidator, validation.OperatorGroupValidator,
	).Validate(objects...)
	if len(results) == 0 {
		t.Fatal("no validator looked at the bundle")
	}
	var out [][]errors.Error
	for _, r := range results {
		out = append(out, append(r.Errors, r.Warnings...))
	}
	return out
}

func bundle(t *testing.T, dir string) *manifests.Bundle {
	t.Helper()
	b, err := manifests.GetBundleFromDir(filepath.Join(dir, "bundle"))
	if err != nil {
		t.Fatal(err)
	}
	if b.CSV == nil || len(b.V1CRDs) == 0 {
		t.Fatalf("the bundle has no ClusterServiceVersion or no CRD: %v", b)
	}
	return b
}

func generate(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := Generate(repo, source.Images{})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func write(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := source.WriteTree(dir, nil, files); err != nil {
		t.Fatal(err)
	}
	return dir
}
