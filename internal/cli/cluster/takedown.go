// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/backup"
	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/names"
)

// StopInjection labels a namespace so that its new pods get no proxy.
func (c *Cluster) StopInjection(ctx context.Context, namespace string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{names.LabelInject: names.InjectDisabled}}})
	if err != nil {
		return fmt.Errorf("label namespace %s: %w", namespace, err)
	}
	_, err = c.typed.CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil && !IsNotFound(err) {
		return fmt.Errorf("label namespace %s: %w", namespace, err)
	}
	return nil
}

// listenerType is that of a pod's inbound listener, whose contents change with the mode of mutual TLS.
const listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"

// Inbound is what each replica of the control plane has the meshed pods listen with.
type Inbound map[string]map[string]string // replica -> listener -> hash

// Inbound asks the replicas.
func (c *Cluster) Inbound(ctx context.Context) (Inbound, error) {
	replicas, err := c.Replicas(ctx)
	if err != nil {
		return nil, err
	}
	out := Inbound{}
	for _, r := range replicas {
		t, err := c.Translation(ctx, r)
		if err != nil {
			return nil, err
		}
		out[r.Pod] = map[string]string{}
		for name, hash := range t.Resources[listenerType] {
			if strings.HasPrefix(name, "in/") {
				out[r.Pod][name] = hash
			}
		}
	}
	return out, nil
}

// ChangedFrom tells whether every listener differs from what it was, whichever replica said so.
func (in Inbound) ChangedFrom(was Inbound) bool {
	old := map[string]bool{}
	for _, list := range was {
		for name, hash := range list {
			old[name+" "+hash] = true
		}
	}
	for _, list := range in {
		for name, hash := range list {
			if old[name+" "+hash] {
				return false
			}
		}
	}
	return len(in) > 0
}

// Unacknowledged returns the connected proxies that do not have the current version of everything, "NAMESPACE/POD", sorted.
func (c *Cluster) Unacknowledged(ctx context.Context) ([]string, error) {
	f := facts.Facts{Kinds: map[string]facts.Kind{}}
	if err := c.systemDeployments(ctx, &f); err != nil {
		return nil, fmt.Errorf("list Deployments in %s: %w", c.System(ctx), err)
	}
	if err := c.streams(ctx, &f); err != nil {
		return nil, fmt.Errorf("ask the control plane for its proxies: %w", err)
	}
	var out []string
	for _, s := range f.Streams {
		if s.Pending > 0 {
			out = append(out, s.Namespace+"/"+s.Pod)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// DeleteMesh asks for the end of a Mesh, with force even while it is in use.
func (c *Cluster) DeleteMesh(ctx context.Context, m v1alpha1.Mesh, force bool) error {
	if force {
		if err := c.AnnotateMesh(ctx, m, map[string]any{names.AnnotationForceDelete: "true"}); err != nil {
			return err
		}
	}
	gvr := v1alpha1.GroupVersion().WithResource("meshes")
	err := c.dynamic.Resource(gvr).Delete(ctx, m.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &m.UID}})
	if err != nil && !IsNotFound(err) {
		return fmt.Errorf("delete Mesh %s: %w", m.Name, err)
	}
	return nil
}

// MeshInUse tells whether a Mesh is still there, and who keeps it there; empty: nobody.
func (c *Cluster) MeshInUse(ctx context.Context, m v1alpha1.Mesh) (there bool, by string, err error) {
	list, err := c.Meshes(ctx)
	if err != nil {
		return true, "", fmt.Errorf("list Meshes: %w", err)
	}
	i := slices.IndexFunc(list, func(x v1alpha1.Mesh) bool { return x.UID == m.UID })
	if i < 0 {
		return false, "", nil
	}
	if cond := apimeta.FindStatusCondition(list[i].Status.Conditions, v1alpha1.ConditionInUse); cond != nil && cond.Status == metav1.ConditionTrue {
		by = cond.Message
	}
	return true, by, nil
}

// Remains is what a mesh leaves behind, which was not made by it.
type Remains struct {
	// Operator are the Deployments of the operator, "NAMESPACE/NAME". Installer is who put it there:
	// "helm RELEASE", "olm CSV" or empty for manifests.
	Operator  []string `json:"operator"`
	Installer string   `json:"installer,omitempty"`
	// Definitions are Tulle's CRDs.
	Definitions []string `json:"definitions"`
	// Releases: there is a ConfigMap of releases.
	Releases bool `json:"releases"`
	// Namespaces carry a label about injection.
	Namespaces []string `json:"namespaces"`
	// Pods carry a proxy, "NAMESPACE/NAME".
	Pods []string `json:"pods"`
}

// Remains looks at what is left.
func (c *Cluster) Remains(ctx context.Context) (Remains, error) {
	var r Remains
	f := facts.Facts{Kinds: map[string]facts.Kind{}}
	if err := c.kinds(ctx, &f); err != nil {
		return r, fmt.Errorf("list custom resource definitions: %w", err)
	}
	for name := range f.Kinds {
		if strings.HasSuffix(name, "."+names.Group) {
			r.Definitions = append(r.Definitions, name)
		}
	}
	slices.Sort(r.Definitions)
	deployments, err := c.typed.AppsV1().Deployments(c.System(ctx)).List(ctx, metav1.ListOptions{})
	if err != nil {
		return r, fmt.Errorf("list Deployments in %s: %w", c.System(ctx), err)
	}
	for _, d := range deployments.Items {
		if d.Name != names.Operator {
			continue
		}
		r.Operator = append(r.Operator, d.Namespace+"/"+d.Name)
		switch release, csv := d.Annotations["meta.helm.sh/release-name"], d.Labels["olm.owner"]; {
		case release != "":
			r.Installer = "helm " + release
		case csv != "":
			r.Installer = "olm " + csv
		}
	}
	_, err = c.typed.CoreV1().ConfigMaps(c.System(ctx)).Get(ctx, backup.ReleasesConfigMap, metav1.GetOptions{})
	if err != nil && !IsNotFound(err) {
		return r, fmt.Errorf("get ConfigMap %s: %w", backup.ReleasesConfigMap, err)
	}
	r.Releases = err == nil
	spaces, err := c.typed.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: names.LabelInject})
	if err != nil {
		return r, fmt.Errorf("list namespaces: %w", err)
	}
	for _, n := range spaces.Items {
		r.Namespaces = append(r.Namespaces, n.Name)
	}
	err = c.eachPod(ctx, metav1.NamespaceAll, names.LabelProxy, func(p *corev1.Pod) error {
		if hasProxy(p) {
			r.Pods = append(r.Pods, p.Namespace+"/"+p.Name)
		}
		return nil
	})
	if err != nil {
		return r, fmt.Errorf("list pods: %w", err)
	}
	return r, nil
}
