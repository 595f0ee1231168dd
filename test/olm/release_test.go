// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package olm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
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

func versionOf(bundle string) (string, error) {
	csv, err := readCSV(bundle)
	if err != nil {
		return "", err
	}
	spec, _ := csv["spec"].(map[string]any)
	version, _ := spec["version"].(string)
	if version == "" {
		return "", fmt.Errorf("bundle %s has no version", bundle)
	}
	return version, nil
}

// nextRelease makes of a bundle the one of a next release, in a folder of its
// own: another version, and a Deployment that differs, so that there is
// something to roll out.
func nextRelease(bundle, to string) (string, error) {
	version, err := versionOf(bundle)
	if err != nil {
		return "", err
	}
	dot := strings.LastIndexByte(version, '.')
	patch, err := strconv.Atoi(version[dot+1:])
	if err != nil {
		return "", fmt.Errorf("patch level of %s: %w", version, err)
	}
	version = fmt.Sprintf("%s.%d", version[:dot], patch+1)
	return version, writeRelease(bundle, to, version)
}

func writeRelease(bundle, to, version string) error {
	if err := os.CopyFS(to, os.DirFS(bundle)); err != nil {
		return fmt.Errorf("copy the bundle: %w", err)
	}
	csv, err := readCSV(bundle)
	if err != nil {
		return err
	}
	metadata := csv["metadata"].(map[string]any)
	metadata["name"] = "tulle.v" + version
	delete(metadata["annotations"].(map[string]any), "olm.skipRange")
	spec := csv["spec"].(map[string]any)
	spec["version"] = version
	install := spec["install"].(map[string]any)["spec"].(map[string]any)
	for _, d := range install["deployments"].([]any) {
		template := d.(map[string]any)["spec"].(map[string]any)["template"].(map[string]any)["metadata"].(map[string]any)
		template["annotations"] = map[string]any{"tulle.dev/test-release": version}
	}
	text, err := yaml.Marshal(csv)
	if err != nil {
		return fmt.Errorf("write the next release: %w", err)
	}
	return os.WriteFile(filepath.Join(to, csvFile), text, 0o644)
}

func readCSV(bundle string) (map[string]any, error) {
	text, err := os.ReadFile(filepath.Join(bundle, csvFile))
	if err != nil {
		return nil, fmt.Errorf("read the ClusterServiceVersion: %w", err)
	}
	var csv map[string]any
	if err := yaml.Unmarshal(text, &csv); err != nil {
		return nil, fmt.Errorf("parse the ClusterServiceVersion: %w", err)
	}
	return csv, nil
}
