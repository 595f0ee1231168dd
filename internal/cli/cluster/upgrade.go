// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/lifecycle/shadow"
	"tulle.dev/tulle/internal/names"
)

// fieldManager owns the fields of a Mesh that the command line changed.
const fieldManager = "tulle-cli"

// ErrNoMesh says that there is no Mesh in the cluster.
var ErrNoMesh = errors.New("there is no Mesh in this cluster")

// ActiveMesh reads the Mesh that rules the cluster.
func (c *Cluster) ActiveMesh(ctx context.Context) (v1alpha1.Mesh, error) {
	list, err := c.Meshes(ctx)
	if err != nil && !IsNotFound(err) { // Tulle is not installed
		return v1alpha1.Mesh{}, fmt.Errorf("list Meshes: %w", err)
	}
	m, there := facts.Facts{Meshes: list}.ActiveMesh()
	if !there {
		return m, ErrNoMesh
	}
	return m, nil
}

// ChangeMesh merges a spec into that of a Mesh, if it is still as it was read. The answer is the API
// server's, which may refuse a change that the Mesh's rules don't allow.
func (c *Cluster) ChangeMesh(ctx context.Context, m v1alpha1.Mesh, spec map[string]any) error {
	return c.patchMesh(ctx, m, map[string]any{
		"metadata": map[string]any{"resourceVersion": m.ResourceVersion},
		"spec":     spec,
	})
}

// AnnotateMesh sets annotations of a Mesh, or takes those away that are nil, whatever else has changed.
func (c *Cluster) AnnotateMesh(ctx context.Context, m v1alpha1.Mesh, annotations map[string]any) error {
	return c.patchMesh(ctx, m, map[string]any{"metadata": map[string]any{"annotations": annotations}})
}

func (c *Cluster) patchMesh(ctx context.Context, m v1alpha1.Mesh, change map[string]any) error {
	patch, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("change Mesh %s: %w", m.Name, err)
	}
	gvr := v1alpha1.GroupVersion().WithResource("meshes")
	_, err = c.dynamic.Resource(gvr).Patch(ctx, m.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if apierrors.IsConflict(err) {
		return fmt.Errorf("change Mesh %s: somebody else has just changed it; look at it and try again", m.Name)
	}
	if err != nil {
		return fmt.Errorf("change Mesh %s: %w", m.Name, err)
	}
	return nil
}

// Replica is a ready pod of the control plane.
type Replica struct {
	Pod, Revision string
	Created       time.Time

	pod *corev1.Pod
}

// Replicas lists the ready replicas of all revisions, the youngest first.
func (c *Cluster) Replicas(ctx context.Context) ([]Replica, error) {
	list, err := c.typed.CoreV1().Pods(c.System(ctx)).List(ctx, metav1.ListOptions{LabelSelector: names.LabelRevision + ",!" + names.LabelProxy})
	if err != nil {
		return nil, fmt.Errorf("list the control plane's pods: %w", err)
	}
	var out []Replica
	for i := range list.Items {
		p := &list.Items[i]
		if podOf(p).Ready && !ended(p) {
			out = append(out, Replica{Pod: p.Name, Revision: p.Labels[names.LabelRevision], Created: p.CreationTimestamp.Time, pod: p})
		}
	}
	slices.SortFunc(out, func(a, b Replica) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.Pod, b.Pod))
	})
	return out, nil
}

// Translation asks a replica what it makes of the cluster.
func (c *Cluster) Translation(ctx context.Context, r Replica) (shadow.Translation, error) {
	var t shadow.Translation
	body, err := c.Ask(ctx, r.pod, names.PathTranslation, nil)
	if isStatus(err, http.StatusNotFound) {
		return t, fmt.Errorf("ask %s for its translation: it is of a release that does not tell", r.Pod)
	}
	if err != nil {
		return t, fmt.Errorf("ask %s for its translation: %w", r.Pod, err)
	}
	if err := json.Unmarshal(body, &t); err != nil {
		return t, fmt.Errorf("read the translation of %s: %w", r.Pod, err)
	}
	if !t.Synced {
		return t, fmt.Errorf("ask %s for its translation: it has not read the whole cluster yet; try again", r.Pod)
	}
	return t, nil
}

// ErrHidden says that a resource is not shown, because it holds a private key.
var ErrHidden = errors.New("not shown: it holds a private key")

// Translated asks a replica for one resource, as indented JSON; empty if it has none of that name.
func (c *Cluster) Translated(ctx context.Context, r Replica, typeURL, name string) (string, error) {
	body, err := c.Ask(ctx, r.pod, names.PathTranslation, url.Values{"type": {typeURL}, "name": {name}})
	switch {
	case isStatus(err, http.StatusNotFound):
		return "", nil
	case errors.Is(err, ErrHidden):
		return "", err
	case err != nil:
		return "", fmt.Errorf("ask %s for %s: %w", r.Pod, name, err)
	}
	return string(body), nil
}
