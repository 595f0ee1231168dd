// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package olm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// The two releases: the one before, and the one of bundle/.
const (
	older = "0.1.0"
	newer = "0.2.0"
)

const (
	csvFile        = "manifests/tulle.clusterserviceversion.yaml"
	definitionFile = "manifests/tulle.dev_meshes.yaml"
)

// came are the fields of a Mesh that 0.1.0's definition did not have.
func came() []string {
	return []string{
		"spec.certificates.maxClockSkew", "spec.controlPlane.autoscaling", "spec.injection.missing", "spec.upgrade",
		"status.certificates", "status.controlPlane.autoscaling", "status.gatewayVersion", "status.proxies.missing", "status.upgrade",
	}
}

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

// writeOlder makes of the bundle of the newer release the one of the older, in a folder of its own: the
// ClusterServiceVersion names the older version and runs the older images, and the definition of Mesh
// lacks what came later, the rule about versions among it.
func writeOlder(bundle, to string) error {
	if err := os.CopyFS(to, os.DirFS(bundle)); err != nil {
		return fmt.Errorf("copy the bundle: %w", err)
	}
	for file, change := range map[string]func(map[string]any) error{csvFile: olderCSV, definitionFile: olderDefinition} {
		path := filepath.Join(to, file)
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read the newer release: %w", err)
		}
		if file == csvFile {
			// Versions, images and examples, wherever they stand.
			if !bytes.Contains(text, []byte("name: tulle.v"+newer)) {
				return fmt.Errorf("%s is not of %s", csvFile, newer)
			}
			text = []byte(strings.NewReplacer(newer, older, "tulle.local/tulle:dev", "tulle.local/tulle:"+older,
				"tulle.local/tulle-proxy:dev", "tulle.local/tulle-proxy:"+older).Replace(string(text)))
		}
		var o map[string]any
		if err := yaml.Unmarshal(text, &o); err != nil {
			return fmt.Errorf("parse %s: %w", file, err)
		}
		if err := change(o); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if text, err = yaml.Marshal(o); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// olderCSV: there was nothing to skip.
func olderCSV(csv map[string]any) error {
	annotations, err := at(csv, "metadata", "annotations")
	if err != nil {
		return err
	}
	delete(annotations, "olm.skipRange")
	return nil
}

// olderDefinition takes out what came later. A field that isn't there is an error: the list is old.
func olderDefinition(definition map[string]any) error {
	spec, err := at(definition, "spec")
	if err != nil {
		return err
	}
	versions, _ := spec["versions"].([]any)
	if len(versions) != 1 {
		return fmt.Errorf("%d versions", len(versions))
	}
	schema, err := at(versions[0].(map[string]any), "schema", "openAPIV3Schema")
	if err != nil {
		return err
	}
	for _, field := range came() {
		path := strings.Split(field, ".")
		parent := schema
		for _, p := range path[:len(path)-1] {
			if parent, err = at(parent, "properties", p); err != nil {
				return fmt.Errorf("%s: %w", field, err)
			}
		}
		fields, err := at(parent, "properties")
		if err != nil || fields[path[len(path)-1]] == nil {
			return fmt.Errorf("there is no field %s", field)
		}
		delete(fields, path[len(path)-1])
		// A default may not have fields that the schema doesn't know.
		if d, ok := parent["default"].(map[string]any); ok {
			delete(d, path[len(path)-1])
		}
	}
	rules, _ := schema["x-kubernetes-validations"].([]any)
	fewer := slices.DeleteFunc(slices.Clone(rules), func(r any) bool {
		rule, _ := r.(map[string]any)["rule"].(string)
		return strings.Contains(rule, "oldSelf.spec.version")
	})
	if len(fewer) != len(rules)-1 {
		return fmt.Errorf("of %d rules, %d are not about a change of the version", len(rules), len(fewer))
	}
	schema["x-kubernetes-validations"] = fewer
	return nil
}

// at is the object at a path of fields.
func at(o map[string]any, path ...string) (map[string]any, error) {
	for i, p := range path {
		next, ok := o[p].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("no %s", strings.Join(path[:i+1], "."))
		}
		o = next
	}
	return o, nil
}
