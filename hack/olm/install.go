// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"tulle.dev/tulle/hack/cluster/addon"
	"tulle.dev/tulle/hack/internal/pack"
)

//go:embed olm.yaml
var manifest string

// up installs OLM and waits until its two operators are ready.
func up(ctx context.Context, e *environment) error {
	dir, remove, err := scratch(e)
	if err != nil {
		return err
	}
	defer remove()
	layer, err := programs(ctx, e, dir)
	if err != nil {
		return err
	}
	image, err := load(ctx, e, dir, pack.Image{Repository: "tulle.local/olm", Layers: []*pack.Layer{layer}, Entrypoint: []string{"/bin/olm"}})
	if err != nil {
		return err
	}
	crds, err := definitions(ctx, e)
	if err != nil {
		return err
	}
	if _, err := kubectl(ctx, e, crds, "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		return fmt.Errorf("apply OLM's definitions: %w", err)
	}
	if err := established(ctx, e, "olmconfigs", "catalogsources", "subscriptions"); err != nil {
		return fmt.Errorf("wait for OLM's definitions: %w", err)
	}
	own, err := render(image)
	if err != nil {
		return err
	}
	if _, err := kubectl(ctx, e, own, "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		return fmt.Errorf("apply OLM: %w", err)
	}
	for _, name := range []string{"olm-operator", "catalog-operator"} {
		if _, err := kubectl(ctx, e, nil, "-n", "olm", "rollout", "status", "deployment/"+name, "--timeout=180s"); err != nil {
			return fmt.Errorf("wait for %s: %w", name, err)
		}
	}
	say("OLM works")
	return nil
}

// established waits until the API server serves definitions of OLM. `kubectl wait` gives up on a
// definition so new that it has no conditions at all, and is asked again.
func established(ctx context.Context, e *environment, plurals ...string) error {
	args := []string{"wait", "--for=condition=Established", "--timeout=60s"}
	for _, p := range plurals {
		args = append(args, "crd/"+p+".operators.coreos.com")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := kubectl(ctx, e, nil, args...)
		if err == nil || !strings.Contains(err.Error(), "conditions accessor error") {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// down removes OLM. What it installed stays, but nobody keeps it.
func down(ctx context.Context, e *environment) error {
	own, err := render("none")
	if err != nil {
		return err
	}
	if _, err := kubectl(ctx, e, own, "delete", "--ignore-not-found", "-f", "-"); err != nil {
		return fmt.Errorf("remove OLM: %w", err)
	}
	crds, err := definitions(ctx, e)
	if err != nil {
		return err
	}
	if _, err := kubectl(ctx, e, crds, "delete", "--ignore-not-found", "-f", "-"); err != nil {
		return fmt.Errorf("remove OLM's definitions: %w", err)
	}
	return nil
}

func render(image string) ([]byte, error) {
	t, err := template.New("olm.yaml").Option("missingkey=error").Parse(manifest)
	if err != nil {
		return nil, fmt.Errorf("parse olm.yaml: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, map[string]string{"Image": image}); err != nil {
		return nil, fmt.Errorf("fill olm.yaml: %w", err)
	}
	return b.Bytes(), nil
}

// definitions are OLM's own CRDs, out of its module.
func definitions(ctx context.Context, e *environment) ([]byte, error) {
	return addon.Definitions(ctx, filepath.Join(e.builder.Repo, "hack", "parts", "olm"),
		"github.com/operator-framework/operator-lifecycle-manager", "deploy/chart/crds/*.yaml")
}

// kubectl runs the cluster's kubectl with input, and returns what it says.
func kubectl(ctx context.Context, e *environment, input []byte, args ...string) (string, error) {
	all := append([]string{"kubectl", "--kubeconfig", e.layout.Kubeconfig()}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(e.layout.Bin(), "kk"), all...)
	cmd.Stdin = bytes.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}
