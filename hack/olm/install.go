// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"tulle.dev/tulle/hack/internal/pack"
)

//go:embed olm.yaml
var manifest string

// crds are OLM's own, in its module.
const crds = "deploy/chart/crds/*.yaml"

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
	definitions, err := readDefinitions(ctx, e.builder.Repo)
	if err != nil {
		return err
	}
	if _, err := kubectl(ctx, e, definitions, "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		return fmt.Errorf("apply OLM's definitions: %w", err)
	}
	if _, err := kubectl(ctx, e, nil, "wait", "--for=condition=Established", "--timeout=60s",
		"crd/olmconfigs.operators.coreos.com", "crd/catalogsources.operators.coreos.com", "crd/subscriptions.operators.coreos.com"); err != nil {
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

// down removes OLM. What it installed stays, but nobody keeps it.
func down(ctx context.Context, e *environment) error {
	own, err := render("none")
	if err != nil {
		return err
	}
	if _, err := kubectl(ctx, e, own, "delete", "--ignore-not-found", "-f", "-"); err != nil {
		return fmt.Errorf("remove OLM: %w", err)
	}
	definitions, err := readDefinitions(ctx, e.builder.Repo)
	if err != nil {
		return err
	}
	if _, err := kubectl(ctx, e, definitions, "delete", "--ignore-not-found", "-f", "-"); err != nil {
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

// readDefinitions reads OLM's CRDs out of its module.
func readDefinitions(ctx context.Context, repo string) ([]byte, error) {
	const module = "github.com/operator-framework/operator-lifecycle-manager"
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = filepath.Join(repo, "hack", "parts", "olm")
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("download module %s: %w\n%s", module, err, out)
	}
	var info struct{ Dir string }
	if err := json.Unmarshal(out, &info); err != nil {
		return nil, fmt.Errorf("read where module %s is: %w", module, err)
	}
	found, err := filepath.Glob(filepath.Join(info.Dir, crds))
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("no definitions %s in module %s", crds, module)
	}
	var all bytes.Buffer
	for _, f := range found {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("read a definition: %w", err)
		}
		all.WriteString("---\n")
		all.Write(text)
	}
	return all.Bytes(), nil
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
