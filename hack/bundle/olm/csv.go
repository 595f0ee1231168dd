// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package olm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tulle.dev/tulle/hack/bundle/source"
)

// fill completes the ClusterServiceVersion of config/manifests/bases with what
// the other objects say.
func fill(p *placement, release, icon string) (source.Object, error) {
	csv := p.csv
	skips, err := skipRange(release)
	if err != nil {
		return nil, err
	}
	examples := make([]any, 0, len(p.examples))
	for _, e := range p.examples {
		examples = append(examples, map[string]any(e))
	}
	if len(examples) == 0 {
		return nil, fmt.Errorf("config/samples has no example of an owned kind")
	}
	csv.Set("tulle.v"+release, "metadata", "name")
	csv.Set(operatorImage(p.deployments), "metadata", "annotations", "containerImage")
	csv.Set(skips, "metadata", "annotations", "olm.skipRange")
	for key, value := range map[string]any{
		"alm-examples": examples,
		"operatorframework.io/initialization-resource":      examples[0],
		"operatorframework.io/suggested-namespace-template": map[string]any(p.namespace),
	} {
		text, err := pretty(value)
		if err != nil {
			return nil, fmt.Errorf("write annotation %s: %w", key, err)
		}
		csv.Set(text, "metadata", "annotations", key)
	}
	if want, is := csv.Text("metadata", "annotations", "operatorframework.io/suggested-namespace"), p.namespace.Name(); want != is {
		return nil, fmt.Errorf("the base suggests namespace %q, config/manager makes %q", want, is)
	}
	csv.Set(release, "spec", "version")
	if before := previous(release); before != "" {
		csv.Set("tulle.v"+before, "spec", "replaces")
	}
	csv.Set(strings.ReplaceAll(csv.Text("spec", "description"), "${VERSION}", release), "spec", "description")
	csv.Set([]any{map[string]any{"base64data": icon, "mediatype": "image/svg+xml"}}, "spec", "icon")
	csv.Set(relatedImages(p.deployments), "spec", "relatedImages")
	csv.Set(map[string]any{
		"strategy": "deployment",
		"spec":     map[string]any{"clusterPermissions": permissions(p.permissions), "deployments": deployments(p.deployments)},
	}, "spec", "install")
	return csv, describe(csv, p.crds)
}

// skipRange takes every earlier release that may be upgraded to this one in
// one step: those of this minor and of the one before.
func skipRange(release string) (string, error) {
	major, rest, _ := strings.Cut(release, ".")
	minor, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(minor)
	if err != nil {
		return "", fmt.Errorf("release %q: %w", release, err)
	}
	return fmt.Sprintf(">=%s.%d.0 <%s", major, max(n-1, 0), release), nil
}

// previous returns the release that comes before one: the patch before it, or the first release of the minor
// before. It is empty for the first release of a major version.
func previous(release string) string {
	n := make([]int, 3)
	if _, err := fmt.Sscanf(release, "%d.%d.%d", &n[0], &n[1], &n[2]); err != nil {
		return ""
	}
	switch {
	case n[2] > 0:
		return fmt.Sprintf("%d.%d.%d", n[0], n[1], n[2]-1)
	case n[1] > 0:
		return fmt.Sprintf("%d.%d.0", n[0], n[1]-1)
	}
	return ""
}

// permissions merges the rules of each account, accounts in order.
func permissions(all []permission) []any {
	rules := map[string][]any{}
	var accounts []string
	for _, p := range all {
		if _, seen := rules[p.account]; !seen {
			accounts = append(accounts, p.account)
		}
		rules[p.account] = append(rules[p.account], p.rules...)
	}
	slices.Sort(accounts)
	out := make([]any, 0, len(accounts))
	for _, a := range accounts {
		out = append(out, map[string]any{"serviceAccountName": a, "rules": rules[a]})
	}
	return out
}

func deployments(all []source.Object) []any {
	out := make([]any, 0, len(all))
	for _, d := range all {
		one := map[string]any{"name": d.Name(), "spec": d.At("spec")}
		if labels := d.Map("metadata", "labels"); len(labels) > 0 {
			one["label"] = labels
		}
		out = append(out, one)
	}
	return out
}

// containers are those of a Deployment.
func containers(d source.Object) []source.Object {
	var out []source.Object
	for _, c := range d.List("spec", "template", "spec", "containers") {
		out = append(out, source.Object(c.(map[string]any)))
	}
	return out
}

func operatorImage(all []source.Object) string { return containers(all[0])[0].Text("image") }

// relatedImages are all images that the operator runs or is told of by an
// environment variable whose name ends in IMAGE: what a mirror must hold.
func relatedImages(all []source.Object) []any {
	byImage := map[string]string{}
	for _, d := range all {
		for _, c := range containers(d) {
			byImage[c.Text("image")] = c.Text("name")
		}
		for _, c := range containers(d) {
			for _, e := range c.List("env") {
				env := source.Object(e.(map[string]any))
				name, image := env.Text("name"), env.Text("value")
				if _, known := byImage[image]; strings.HasSuffix(name, "IMAGE") && !known {
					short := strings.TrimPrefix(strings.TrimSuffix(name, "_IMAGE"), "TULLE_")
					byImage[image] = strings.ToLower(strings.ReplaceAll(short, "_", "-"))
				}
			}
		}
	}
	out := make([]any, 0, len(byImage))
	for image, name := range byImage {
		out = append(out, map[string]any{"name": name, "image": image})
	}
	slices.SortFunc(out, func(a, b any) int {
		return strings.Compare(a.(map[string]any)["name"].(string), b.(map[string]any)["name"].(string))
	})
	return out
}
