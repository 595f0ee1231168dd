// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// An Object is a Kubernetes object as JSON has it.
type Object map[string]any

// Images replaces the images of config/default; an empty field keeps them.
type Images struct{ Manager, Proxy string }

// Repositories of the images as config/ names them.
const (
	managerRepository = "tulle.local/tulle"
	proxyRepository   = "tulle.local/tulle-proxy"
)

// ImagesRole is the ClusterRole whose annotations name the images that a policy lets the operator run.
const ImagesRole = "tulle-operator-images"

// Load builds the kustomization in a folder of the repository.
func Load(repo, folder string) ([]Object, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(repo, folder))
	if err != nil {
		return nil, fmt.Errorf("build the kustomization %s: %w", folder, err)
	}
	var all []Object
	for _, r := range built.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", r.CurId(), folder, err)
		}
		var o Object
		if err := yaml.Unmarshal(text, &o); err != nil {
			return nil, fmt.Errorf("parse %s of %s: %w", r.CurId(), folder, err)
		}
		all = append(all, o)
	}
	return all, nil
}

// Kind is the object's kind.
func (o Object) Kind() string { return o.Text("kind") }

// Name is the object's name.
func (o Object) Name() string { return o.Text("metadata", "name") }

// Namespace is the object's namespace, empty for cluster-wide ones.
func (o Object) Namespace() string { return o.Text("metadata", "namespace") }

// Group is the object's API group, empty for the core.
func (o Object) Group() string {
	group, _, found := strings.Cut(o.Text("apiVersion"), "/")
	if !found {
		return ""
	}
	return group
}

// Version is the version of the object's API, without the group.
func (o Object) Version() string {
	v := o.Text("apiVersion")
	return v[strings.LastIndexByte(v, '/')+1:]
}

// At returns what is at a path of fields, or nil.
func (o Object) At(path ...string) any {
	var v any = map[string]any(o)
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

// Text returns the string at a path of fields, or "".
func (o Object) Text(path ...string) string {
	s, _ := o.At(path...).(string)
	return s
}

// Map returns the map at a path of fields, or nil.
func (o Object) Map(path ...string) map[string]any {
	m, _ := o.At(path...).(map[string]any)
	return m
}

// List returns the list at a path of fields, or nil.
func (o Object) List(path ...string) []any {
	l, _ := o.At(path...).([]any)
	return l
}

// Set puts a value at a path of fields, making the maps on the way.
func (o Object) Set(value any, path ...string) {
	m := map[string]any(o)
	for _, p := range path[:len(path)-1] {
		next, ok := m[p].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[p] = next
		}
		m = next
	}
	m[path[len(path)-1]] = value
}

// Copy is a deep copy.
func (o Object) Copy() Object { return Object(copyOf(map[string]any(o)).(map[string]any)) }

func copyOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = copyOf(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = copyOf(e)
		}
		return l
	}
	return v
}

// ReplaceImages returns the objects with every image of the manager and the
// proxy replaced, in image fields and in environment variables alike.
func ReplaceImages(all []Object, images Images) []Object {
	replace := func(s string) string {
		for _, r := range []struct{ repository, with string }{
			{managerRepository, images.Manager}, {proxyRepository, images.Proxy},
		} {
			rest, found := strings.CutPrefix(s, r.repository)
			if found && r.with != "" && (rest == "" || rest[0] == ':' || rest[0] == '@') {
				return r.with
			}
		}
		return s
	}
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			return replace(v)
		case map[string]any:
			for k := range v {
				v[k] = walk(v[k])
			}
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		}
		return v
	}
	out := make([]Object, 0, len(all))
	for _, o := range all {
		o = o.Copy()
		if o.Kind() == "Deployment" || o.Kind() == "ClusterRole" && o.Name() == ImagesRole {
			walk(map[string]any(o))
		}
		out = append(out, o)
	}
	return out
}

// Find returns the one object of a kind that pick takes.
func Find(all []Object, kind string, pick func(Object) bool) (Object, error) {
	var found []Object
	for _, o := range all {
		if o.Kind() == kind && (pick == nil || pick(o)) {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("want one %s in config/, found %d", kind, len(found))
	}
	return found[0], nil
}

// YAML is the object as text, its fields sorted.
func (o Object) YAML() ([]byte, error) { return yaml.Marshal(map[string]any(o)) }

// Release is the release that config/ installs: the one that the sample Mesh asks for.
func Release(samples []Object) (string, error) {
	i := slices.IndexFunc(samples, func(o Object) bool { return o.Kind() == "Mesh" })
	if i < 0 || samples[i].Text("spec", "version") == "" {
		return "", fmt.Errorf("no sample Mesh that names a version")
	}
	return samples[i].Text("spec", "version"), nil
}
