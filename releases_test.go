// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	appsv1 "k8s.io/api/apps/v1"
)

// TestReleases: the default file need not be there; any other must be, and be right.
func TestReleases(t *testing.T) {
	if list, err := readReleases(defaultReleases); err != nil || list != nil {
		t.Errorf("without a file: %v, %v", list, err)
	}
	file := filepath.Join(t.TempDir(), "releases.yaml")
	if _, err := readReleases(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a missing file: %v", err)
	}
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("- version: 0.2.0\n  image: mirror.example/tulle:0.2.0\n  proxyImage: mirror.example/tulle-proxy:0.2.0\n")
	if list, err := readReleases(file); err != nil || len(list) != 1 || list[0].Image != "mirror.example/tulle:0.2.0" {
		t.Errorf("a good file: %v, %v", list, err)
	}
	write("- version: latest\n")
	if _, err := readReleases(file); err == nil || !strings.Contains(err.Error(), file+": release 1: version \"latest\"") {
		t.Errorf("a bad file: %v", err)
	}
	// The operator ends at once, before it looks for a cluster.
	c := root()
	c.SetArgs([]string{"operator", "--releases", file, "--image", "a", "--proxy-image", "b"})
	if err := c.Execute(); err == nil || !strings.Contains(err.Error(), "read releases from") {
		t.Errorf("the operator with a bad file: %v", err)
	}
}

// TestReleasesAreMounted: the Deployment mounts the ConfigMap where the operator looks, if it is there.
func TestReleasesAreMounted(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("config", "manager", "deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict(text, &d); err != nil {
		t.Fatal(err)
	}
	pod := d.Spec.Template.Spec
	for _, m := range pod.Containers[0].VolumeMounts {
		if m.MountPath != filepath.Dir(defaultReleases) {
			continue
		}
		for _, v := range pod.Volumes {
			if v.Name == m.Name && v.ConfigMap != nil && v.ConfigMap.Name == "tulle-releases" && v.ConfigMap.Optional != nil && *v.ConfigMap.Optional && m.ReadOnly {
				return
			}
		}
	}
	t.Errorf("no optional ConfigMap tulle-releases at %s: %v, %v", filepath.Dir(defaultReleases), pod.Containers[0].VolumeMounts, pod.Volumes)
}
