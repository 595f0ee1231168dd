// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tulle.dev/tulle/internal/cli/unmesh"
	"tulle.dev/tulle/internal/clip"
	"tulle.dev/tulle/internal/gatewaykinds"
	"tulle.dev/tulle/internal/names"
)

// Kinds of workloads that are restarted.
const (
	kindDeployment  = "Deployment"
	kindStatefulSet = "StatefulSet"
	kindDaemonSet   = "DaemonSet"
)

// UnmeshSeen looks at who is in the mesh and what depends on it.
func (c *Cluster) UnmeshSeen(ctx context.Context) (unmesh.Seen, error) {
	var s unmesh.Seen
	switch m, err := c.ActiveMesh(ctx); {
	case err == nil:
		s.Mesh = &m
	case !errors.Is(err, ErrNoMesh):
		return s, err
	}
	if err := c.meshed(ctx, &s); err != nil {
		return s, fmt.Errorf("read pods: %w", err)
	}
	spaces, err := c.typed.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("list namespaces: %w", err)
	}
	for _, n := range spaces.Items {
		if n.DeletionTimestamp == nil {
			s.Namespaces = append(s.Namespaces, unmesh.Namespace{Name: n.Name, Labels: n.Labels})
		}
	}
	s.Gateways, s.Routes, err = c.attached(ctx)
	return s, err
}

// meshed reads the pods with a sidecar, and their workloads.
func (c *Cluster) meshed(ctx context.Context, s *unmesh.Seen) error {
	of := map[unmesh.Ref]bool{} // whether it exists
	err := c.eachPod(ctx, metav1.NamespaceAll, names.LabelProxy, func(p *corev1.Pod) error {
		switch {
		case !hasProxy(p):
			s.Labelled = append(s.Labelled, p.Namespace+"/"+p.Name)
			return nil
		case p.Labels[names.LabelProxy] != names.KindSidecar:
			s.Others++
			return nil
		}
		out := unmesh.Pod{Namespace: p.Namespace, Name: p.Name}
		var err error
		if out.Owner, out.OwnedBy, err = c.ownerOf(ctx, p); err != nil {
			return err
		}
		exists, known := of[out.Owner]
		if !known && out.Owner != (unmesh.Ref{}) {
			w, err := c.workload(ctx, out.Owner)
			if err != nil && !IsNotFound(err) {
				return err
			}
			if exists = err == nil; exists {
				s.Workloads = append(s.Workloads, w)
			}
			of[out.Owner] = exists
		}
		if out.Owner != (unmesh.Ref{}) && !exists {
			out.OwnedBy, out.Orphan, out.Owner = out.Owner.Kind+" "+out.Owner.Name, true, unmesh.Ref{}
		}
		s.Pods = append(s.Pods, out)
		return nil
	})
	slices.Sort(s.Labelled)
	return err
}

// hasProxy reports whether a pod has the container of a proxy, whatever its labels.
func hasProxy(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == names.ContainerSlotA || c.Name == names.ContainerSlotB
	})
}

// longestName is how many bytes the name of a workload may have.
const longestName = 253

// isWorkload reports whether an owner is of the API group of workloads, with a name that a request can have. The API server
// does not check whether an owner exists.
func isWorkload(o *metav1.OwnerReference) bool {
	return o.APIVersion == appsv1.SchemeGroupVersion.String() && len(o.Name) <= longestName && len(content.IsPathSegmentName(o.Name)) == 0
}

// ownerOf finds the workload that replaces a pod, or else who owns it.
func (c *Cluster) ownerOf(ctx context.Context, p *corev1.Pod) (unmesh.Ref, string, error) {
	owner := metav1.GetControllerOf(p)
	if owner == nil {
		return unmesh.Ref{}, "", nil
	}
	by := clip.Text(owner.Kind+"/"+owner.Name, longestName)
	if !isWorkload(owner) {
		return unmesh.Ref{}, by, nil
	}
	switch owner.Kind {
	case kindStatefulSet, kindDaemonSet:
		return unmesh.Ref{Kind: owner.Kind, Namespace: p.Namespace, Name: owner.Name}, "", nil
	case "ReplicaSet":
		rs, err := c.typed.AppsV1().ReplicaSets(p.Namespace).Get(ctx, owner.Name, metav1.GetOptions{})
		if IsNotFound(err) {
			return unmesh.Ref{}, by, nil
		}
		if err != nil {
			return unmesh.Ref{}, "", fmt.Errorf("get ReplicaSet %s/%s: %w", p.Namespace, owner.Name, err)
		}
		if d := metav1.GetControllerOf(rs); d != nil && d.Kind == kindDeployment && isWorkload(d) {
			return unmesh.Ref{Kind: d.Kind, Namespace: p.Namespace, Name: d.Name}, "", nil
		}
	}
	return unmesh.Ref{}, by, nil
}

func (c *Cluster) workload(ctx context.Context, r unmesh.Ref) (unmesh.Workload, error) {
	s, err := c.rollout(ctx, r)
	if err != nil {
		return unmesh.Workload{}, err
	}
	w := unmesh.Workload{Ref: r, Replicas: s.wanted, Stuck: s.stuck}
	_, w.Fixed = s.selector.MatchLabels[names.LabelInject]
	for _, e := range s.selector.MatchExpressions {
		w.Fixed = w.Fixed || e.Key == names.LabelInject
	}
	return w, nil
}

// attached lists the Gateways of Tulle's classes, and the routes that the control plane wrote a status on.
func (c *Cluster) attached(ctx context.Context) (gateways, routes []string, err error) {
	const group = "gateway.networking.k8s.io"
	read := func(resource string, use func(*unstructured.Unstructured)) error {
		of := c.resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource})
		err := each(ctx, of, metav1.ListOptions{}, func(list *unstructured.UnstructuredList) error {
			for i := range list.Items {
				use(&list.Items[i])
			}
			return nil
		})
		if err != nil && !IsNotFound(err) { // the kind may not be installed
			return fmt.Errorf("list %s: %w", resource, err)
		}
		return nil
	}
	ours := map[string]bool{names.GatewayClass: true}
	err = read("gatewayclasses", func(u *unstructured.Unstructured) {
		if by, _, _ := unstructured.NestedString(u.Object, "spec", "controllerName"); by != "" {
			ours[u.GetName()] = by == names.ControllerName
		}
	})
	if err != nil {
		return nil, nil, err
	}
	err = read("gateways", func(u *unstructured.Unstructured) {
		if class, _, _ := unstructured.NestedString(u.Object, "spec", "gatewayClassName"); ours[class] {
			gateways = append(gateways, "Gateway "+u.GetNamespace()+"/"+u.GetName())
		}
	})
	if err != nil {
		return nil, nil, err
	}
	for _, k := range gatewaykinds.Routes() {
		err := read(k.Plural, func(u *unstructured.Unstructured) {
			parents, _, _ := unstructured.NestedSlice(u.Object, "status", "parents")
			if slices.ContainsFunc(parents, func(p any) bool {
				m, ok := p.(map[string]any)
				return ok && m["controllerName"] == names.ControllerName
			}) {
				routes = append(routes, u.GetKind()+" "+u.GetNamespace()+"/"+u.GetName())
			}
		})
		if err != nil {
			return nil, nil, err
		}
	}
	slices.Sort(gateways)
	slices.Sort(routes)
	return gateways, routes, nil
}
