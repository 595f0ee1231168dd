// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package backup

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/names"
)

// Seen is what a backup is made of. A name is missing where the object is.
type Seen struct {
	// Mesh is the active one.
	Mesh       unstructured.Unstructured
	Secrets    map[string]*corev1.Secret
	ConfigMaps map[string]*corev1.ConfigMap
	// XMesh is the one that Tulle serves; nil: none.
	XMesh *unstructured.Unstructured
}

// Make makes a backup, with private keys or without, and checks that it could be restored.
func Make(s Seen, keys bool, tulle string, now time.Time) (File, error) {
	m, err := meshOf(s.Mesh)
	if err != nil {
		return File{}, err
	}
	f := File{
		APIVersion: APIVersion, Kind: Kind, Created: now.UTC().Truncate(time.Second), Tulle: tulle,
		Mesh: m.Name, TrustDomain: m.Spec.TrustDomain, Keys: keys,
	}
	if c := s.ConfigMaps[names.TrustConfigMap]; c != nil {
		inUse := map[string]bool{}
		for _, r := range m.Status.Roots {
			inUse[r.SHA256] = r.Active
		}
		roots, err := health.ParsePEM([]byte(c.Data[names.TrustKey]))
		if err != nil {
			return f, fmt.Errorf("read the roots in ConfigMap %s: %w", c.Name, err)
		}
		for _, r := range roots {
			id := health.Fingerprint(r)
			f.Roots = append(f.Roots, Root{SHA256: id, NotAfter: r.NotAfter.UTC(), InUse: inUse[id]})
		}
	}
	if len(f.Roots) == 0 {
		return f, fmt.Errorf("the Mesh %s has no root yet: wait until it is Ready (kubectl wait --for=condition=Ready mesh.tulle.dev/%s)", m.Name, m.Name)
	}
	for _, k := range kept() {
		u, err := s.object(k, keys)
		if err != nil {
			return f, err
		}
		if u != nil {
			f.Objects = append(f.Objects, *u)
		}
	}
	if _, err := f.read(now); err != nil {
		err = fmt.Errorf("the mesh is in no state to be backed up: %w", err)
		if keys {
			err = fmt.Errorf("%w; without its keys it can be: --without-keys", err)
		}
		return f, err
	}
	return f, nil
}

// object is the manifest of one of those that a backup has; nil: not there, or not wanted.
func (s Seen) object(k key, keys bool) (*unstructured.Unstructured, error) {
	var u unstructured.Unstructured
	var err error
	switch k.kind {
	case "Secret":
		secret := s.Secrets[k.name]
		if secret == nil || !keys {
			return nil, nil
		}
		u, err = manifest(secret, k.kind)
	case "ConfigMap":
		c := s.ConfigMaps[k.name]
		if c == nil {
			return nil, nil
		}
		u, err = manifest(c, k.kind)
	case "XMesh":
		if !ours(s.XMesh) {
			return nil, nil
		}
		u = stripped(*s.XMesh)
	case "Mesh":
		u = stripped(s.Mesh)
	default:
		err = errors.New("a backup has no " + k.kind)
	}
	return &u, err
}
