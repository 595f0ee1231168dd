// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package olm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"tulle.dev/tulle/hack/bundle/source"
)

// depth is how far below spec and status fields get a descriptor of their own.
const depth = 2

// describe adds descriptors of the fields of every owned kind, taken from the
// CRD's schema, so that a console's form says what `kubectl explain` says.
func describe(csv source.Object, crds []source.Object) error {
	owned := csv.List("spec", "customresourcedefinitions", "owned")
	if len(owned) != len(crds) {
		return fmt.Errorf("the base owns %d kinds, config/crd has %d", len(owned), len(crds))
	}
	for _, entry := range owned {
		o := source.Object(entry.(map[string]any))
		i := slices.IndexFunc(crds, func(c source.Object) bool { return c.Name() == o.Text("name") })
		if i < 0 {
			return fmt.Errorf("no CRD %s in config/crd", o.Text("name"))
		}
		schema := schemaOf(crds[i], o.Text("version"))
		if schema == nil {
			return fmt.Errorf("CRD %s has no schema of version %s", o.Text("name"), o.Text("version"))
		}
		o.Set(descriptors(schema, "spec"), "specDescriptors")
		o.Set(descriptors(schema, "status"), "statusDescriptors")
	}
	return nil
}

func schemaOf(crd source.Object, version string) source.Object {
	for _, v := range crd.List("spec", "versions") {
		if v := source.Object(v.(map[string]any)); v.Text("name") == version {
			return source.Object(v.Map("schema", "openAPIV3Schema"))
		}
	}
	return nil
}

// descriptors are those of all fields below a part of the object, outer ones first.
func descriptors(schema source.Object, part string) []any {
	out := []any{}
	var walk func(o source.Object, path string, level int)
	walk = func(o source.Object, path string, level int) {
		properties := o.Map("properties")
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			field := source.Object(properties[name].(map[string]any))
			at := strings.TrimPrefix(path+"."+name, ".")
			d := map[string]any{"path": at, "displayName": title(at)}
			if text := sentence(field.Text("description")); text != "" {
				d["description"] = text
			}
			if x := hints(part, at, field); len(x) > 0 {
				d["x-descriptors"] = x
			}
			out = append(out, d)
			if level < depth && field.Text("type") == "object" && !opaque(name) {
				walk(field, at, level+1)
			}
		}
	}
	walk(source.Object(schema.Map("properties", part)), "", 1)
	return out
}

// sentence is the first sentence of a description, on one line. Sentences end
// with a dot before a space: "tulle.dev" goes on.
func sentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if end := strings.Index(text, ". "); end >= 0 {
		return text[:end+1]
	}
	return text
}

// opaque are fields of Kubernetes' own types, which consoles know how to show.
func opaque(name string) bool {
	return slices.Contains([]string{"resources", "affinity", "namespaceSelector"}, name)
}

// hints say how a console shows a field:
// https://github.com/openshift/console, operator-lifecycle-manager/src/components/descriptors/types.ts.
func hints(part, path string, field source.Object) []any {
	const ui, io = "urn:alm:descriptor:com.tectonic.ui:", "urn:alm:descriptor:io.kubernetes"
	name := path[strings.LastIndexByte(path, '.')+1:]
	switch {
	case part == "status" && path == "conditions":
		return []any{io + ".conditions"}
	case name == "resources":
		return []any{ui + "resourceRequirements"}
	case name == "namespaceSelector":
		return []any{ui + "selector:core:v1:Namespace"}
	case part == "status" && field.Text("type") != "object" && field.Text("type") != "array":
		return []any{ui + "text"}
	case part == "status":
		return nil
	case len(field.List("enum")) > 0:
		var all []any
		for _, v := range field.List("enum") {
			all = append(all, fmt.Sprint(ui, "select:", v))
		}
		return all
	case field.Text("type") == "boolean":
		return []any{ui + "booleanSwitch"}
	case field.Text("type") == "integer":
		return []any{ui + "number"}
	case field.Text("type") == "string":
		return []any{ui + "text"}
	}
	return nil
}

// title is a path as people read it: "controlPlane.replicas" is "Control plane replicas".
func title(path string) string {
	var words []string
	for _, part := range strings.Split(path, ".") {
		start := 0
		for i, r := range part {
			if i > start && unicode.IsUpper(r) && !unicode.IsUpper(rune(part[i-1])) {
				words = append(words, strings.ToLower(part[start:i]))
				start = i
			}
		}
		words = append(words, strings.ToLower(part[start:]))
	}
	known := map[string]string{"mtls": "mTLS", "sha256": "SHA-256"}
	for i, w := range words {
		if k, ok := known[w]; ok {
			words[i] = k
		} else if i == 0 {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ")
}
