// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/hack/internal/pack"
	"tulle.dev/tulle/hack/internal/parts"
)

// block is a block of a file-based catalog; its fields depend on its schema.
type block map[string]any

// offer packs bundles and a file-based catalog of them, and points the
// CatalogSource "test" at it, which OLM then serves from a pod of its own.
func offer(ctx context.Context, e *environment, bundles []string) error {
	dir, remove, err := scratch(e)
	if err != nil {
		return err
	}
	defer remove()
	built, err := e.builder.Build(ctx, parts.OLM())
	if err != nil {
		return err
	}
	var blocks []block
	for _, b := range bundles {
		image, err := packBundle(ctx, e, dir, b)
		if err != nil {
			return err
		}
		rendered, err := renderBundle(ctx, built["opm"], b, image)
		if err != nil {
			return err
		}
		blocks = append(blocks, rendered...)
	}
	about, err := readAnnotations(bundles[len(bundles)-1])
	if err != nil {
		return err
	}
	blocks, err = complete(blocks, about)
	if err != nil {
		return err
	}
	configs := filepath.Join(dir, "configs")
	if err := writeCatalog(configs, blocks); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, built["opm"], "validate", configs).CombinedOutput(); err != nil {
		return fmt.Errorf("validate the catalog: %w\n%s", err, out)
	}
	base, err := programs(ctx, e, dir)
	if err != nil {
		return err
	}
	entries, err := files(configs, "configs")
	if err != nil {
		return err
	}
	layer, err := pack.NewLayer(dir, entries)
	if err != nil {
		return err
	}
	image, err := load(ctx, e, dir, pack.Image{
		Repository: "tulle.local/olm-catalog", Layers: []*pack.Layer{base, layer},
		Entrypoint: []string{"/bin/opm", "serve", "/configs", "--cache-dir=/tmp/cache", "--cache-enforce-integrity=false"},
		Labels:     map[string]string{"operators.operatorframework.io.index.configs.v1": "/configs"},
	})
	if err != nil {
		return err
	}
	source := fmt.Sprintf(`{"apiVersion": "operators.coreos.com/v1alpha1", "kind": "CatalogSource",
		"metadata": {"name": "test", "namespace": "olm"},
		"spec": {"sourceType": "grpc", "image": %q, "displayName": "test", "publisher": "test",
			"grpcPodConfig": {"securityContextConfig": "restricted"}}}`, image)
	if _, err := kubectl(ctx, e, []byte(source), "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		return fmt.Errorf("apply the catalog: %w", err)
	}
	if err := served(ctx, e, image); err != nil {
		return err
	}
	say("offered " + strings.Join(names(blocks), ", "))
	return nil
}

// served waits until the catalog's one pod is of this image and OLM is
// connected to it: until then OLM goes on resolving from the one before.
func served(ctx context.Context, e *environment, image string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		pods, err := kubectl(ctx, e, nil, "-n", "olm", "get", "pods", "-l", "olm.catalogSource=test",
			"-o", "jsonpath={range .items[*]}{.spec.containers[0].image} {.status.containerStatuses[0].ready}{'\\n'}{end}")
		if err != nil {
			return fmt.Errorf("look at the catalog's pods: %w", err)
		}
		state, err := kubectl(ctx, e, nil, "-n", "olm", "get", "catalogsource", "test", "-o", "jsonpath={.status.connectionState.lastObservedState}")
		if err != nil {
			return fmt.Errorf("look at the catalog: %w", err)
		}
		if strings.TrimSpace(pods) == image+" true" && state == "READY" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the catalog is not served: state %q, pods %q: %w", state, pods, ctx.Err())
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// packBundle makes the bundle's image: its files and labels, nothing that runs.
func packBundle(ctx context.Context, e *environment, dir, bundle string) (string, error) {
	labels, err := readAnnotations(bundle)
	if err != nil {
		return "", err
	}
	entries, err := files(bundle, "")
	if err != nil {
		return "", err
	}
	layer, err := pack.NewLayer(dir, append(pack.Base(user, user), entries...))
	if err != nil {
		return "", err
	}
	return load(ctx, e, dir, pack.Image{Repository: "tulle.local/tulle-bundle", Layers: []*pack.Layer{layer}, Labels: labels})
}

// readAnnotations reads a bundle's metadata.
func readAnnotations(bundle string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(bundle, "metadata", "annotations.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read the bundle's metadata: %w", err)
	}
	var m struct{ Annotations map[string]string }
	if err := yaml.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("parse the bundle's metadata: %w", err)
	}
	return m.Annotations, nil
}

// renderBundle asks opm what a catalog says of a bundle.
func renderBundle(ctx context.Context, opm, bundle, image string) ([]block, error) {
	cmd := exec.CommandContext(ctx, opm, "render", bundle, "--alpha-image-ref-template", image, "-o", "json")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("render bundle %s: %w\n%s", bundle, err, stderr.String())
	}
	return parseBlocks(&stdout)
}

func parseBlocks(r io.Reader) ([]block, error) {
	d := json.NewDecoder(r)
	var all []block
	for {
		var b block
		err := d.Decode(&b)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("parse what opm rendered: %w", err)
		}
		all = append(all, b)
	}
}

// complete adds the package and its channels: every bundle is in every
// channel, and replaces the one before it.
func complete(blocks []block, annotations map[string]string) ([]block, error) {
	const prefix = "operators.operatorframework.io.bundle."
	name, channels := annotations[prefix+"package.v1"], annotations[prefix+"channels.v1"]
	preferred := annotations[prefix+"channel.default.v1"]
	if name == "" || channels == "" || preferred == "" {
		return nil, errors.New("the bundle's metadata names no package, channels or default channel")
	}
	var entries []any
	for _, bundle := range names(blocks) {
		entry := map[string]any{"name": bundle}
		if len(entries) > 0 {
			entry["replaces"] = entries[len(entries)-1].(map[string]any)["name"]
		}
		entries = append(entries, entry)
	}
	all := []block{{"schema": "olm.package", "name": name, "defaultChannel": preferred}}
	for _, c := range strings.Split(channels, ",") {
		all = append(all, block{"schema": "olm.channel", "package": name, "name": c, "entries": entries})
	}
	return append(all, blocks...), nil
}

// names are those of the bundles among the blocks.
func names(blocks []block) []string {
	var out []string
	for _, b := range blocks {
		if name, _ := b["name"].(string); b["schema"] == "olm.bundle" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func writeCatalog(dir string, blocks []block) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the catalog's folder: %w", err)
	}
	var b bytes.Buffer
	for _, one := range blocks {
		text, err := json.MarshalIndent(one, "", "  ")
		if err != nil {
			return fmt.Errorf("write the catalog: %w", err)
		}
		b.Write(append(text, '\n'))
	}
	if err := os.WriteFile(filepath.Join(dir, "catalog.json"), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the catalog: %w", err)
	}
	return nil
}
