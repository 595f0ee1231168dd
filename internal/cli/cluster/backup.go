// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/backup"
	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/names"
)

// resourceOf says where objects of the few kinds that a backup has are found.
func resourceOf(u unstructured.Unstructured) schema.GroupVersionResource {
	plural := map[string]string{"Secret": "secrets", "ConfigMap": "configmaps", "XMesh": "xmeshes", "Mesh": "meshes"}[u.GetKind()]
	return u.GroupVersionKind().GroupVersion().WithResource(plural)
}

// BackupSeen reads what a backup is made of, Secrets only if it is to have keys.
func (c *Cluster) BackupSeen(ctx context.Context, keys bool) (backup.Seen, error) {
	var s backup.Seen
	m, err := c.ActiveMesh(ctx)
	if err != nil {
		return s, err
	}
	gvr := v1alpha1.GroupVersion().WithResource("meshes")
	u, err := c.dynamic.Resource(gvr).Get(ctx, m.Name, metav1.GetOptions{}) // as it is, with what this command does not know
	if err != nil {
		return s, fmt.Errorf("get Mesh %s: %w", m.Name, err)
	}
	s.Mesh = *u
	if keys {
		if s.Secrets, err = c.secrets(ctx); err != nil {
			return s, err
		}
	}
	if s.ConfigMaps, err = c.configMaps(ctx); err != nil {
		return s, err
	}
	s.XMesh, err = c.xmesh(ctx)
	return s, err
}

// BackupTarget looks at the cluster that a backup is to be put into.
func (c *Cluster) BackupTarget(ctx context.Context) (backup.Target, error) {
	t := backup.Target{System: c.System(ctx)}
	f := facts.Facts{Kinds: map[string]facts.Kind{}}
	if err := c.kinds(ctx, &f); err != nil {
		return t, fmt.Errorf("list custom resource definitions: %w", err)
	}
	t.MeshKind = f.Kinds["meshes."+names.Group].Established
	t.CertManager = f.Kinds["certificates.cert-manager.io"].Established
	t.XMeshKind = slices.Contains(f.Kinds["xmeshes.gateway.networking.x-k8s.io"].Served, "v1alpha1")
	if !t.MeshKind {
		return t, nil
	}
	_, err := c.typed.CoreV1().Namespaces().Get(ctx, c.System(ctx), metav1.GetOptions{})
	if err != nil && !IsNotFound(err) {
		return t, fmt.Errorf("get namespace %s: %w", c.System(ctx), err)
	}
	t.Namespace = err == nil
	if err := c.systemDeployments(ctx, &f); err != nil {
		return t, fmt.Errorf("list Deployments in %s: %w", c.System(ctx), err)
	}
	t.Operator = len(f.Operator) > 0
	switch m, err := c.ActiveMesh(ctx); {
	case err == nil:
		t.Mesh = &m
	case !errors.Is(err, ErrNoMesh):
		return t, err
	}
	if t.Secrets, err = c.secrets(ctx); err != nil {
		return t, err
	}
	if t.ConfigMaps, err = c.configMaps(ctx); err != nil {
		return t, err
	}
	x, err := c.xmesh(ctx)
	t.XMesh = x != nil
	return t, err
}

func (c *Cluster) secrets(ctx context.Context) (map[string]*corev1.Secret, error) {
	out := map[string]*corev1.Secret{}
	for _, name := range backup.Secrets() {
		s, err := c.typed.CoreV1().Secrets(c.System(ctx)).Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			out[name] = s
		case !IsNotFound(err):
			return nil, fmt.Errorf("get Secret %s/%s: %w", c.System(ctx), name, err)
		}
	}
	return out, nil
}

func (c *Cluster) configMaps(ctx context.Context) (map[string]*corev1.ConfigMap, error) {
	out := map[string]*corev1.ConfigMap{}
	for _, name := range backup.ConfigMaps() {
		m, err := c.typed.CoreV1().ConfigMaps(c.System(ctx)).Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			out[name] = m
		case !IsNotFound(err):
			return nil, fmt.Errorf("get ConfigMap %s/%s: %w", c.System(ctx), name, err)
		}
	}
	return out, nil
}

// xmesh reads Gateway API's own view of the mesh; nil: there is none, or no such kind.
func (c *Cluster) xmesh(ctx context.Context) (*unstructured.Unstructured, error) {
	u := unstructured.Unstructured{}
	u.SetAPIVersion(backup.XMeshAPI)
	u.SetKind("XMesh")
	x, err := c.dynamic.Resource(resourceOf(u)).Get(ctx, names.XMesh, metav1.GetOptions{})
	if IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get XMesh %s: %w", names.XMesh, err)
	}
	return x, nil
}

// Create makes an object of a backup, which must not be there.
func (c *Cluster) Create(ctx context.Context, u unstructured.Unstructured) error {
	r := c.dynamic.Resource(resourceOf(u))
	opts := metav1.CreateOptions{FieldManager: fieldManager}
	var err error
	if ns := u.GetNamespace(); ns != "" {
		_, err = r.Namespace(ns).Create(ctx, &u, opts)
	} else {
		_, err = r.Create(ctx, &u, opts)
	}
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create %s %s: somebody else has just made one; try again", u.GetKind(), u.GetName())
	}
	if err != nil {
		return fmt.Errorf("create %s %s: %w", u.GetKind(), u.GetName(), err)
	}
	return nil
}
