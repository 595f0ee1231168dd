// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/names"
)

// Observe takes one look at the cluster. An error means that the API server could not be reached
// at all; whatever else can't be read is noted in the facts.
func (c *Cluster) Observe(ctx context.Context) (facts.Facts, error) {
	f := facts.Facts{At: time.Now(), Kinds: map[string]facts.Kind{}}
	info, err := c.typed.Discovery().ServerVersion()
	if err != nil {
		return f, fmt.Errorf("reach the API server: %w", err)
	}
	f.Server = versionOf(info.GitVersion)
	f.System, f.OtherOperators = c.System(ctx), c.others
	for _, part := range []struct {
		what string
		read func(context.Context, *facts.Facts) error
	}{
		{facts.UnreadNodes, c.nodes},
		{facts.UnreadKinds, c.kinds},
		{facts.UnreadCertManager, c.certManager},
		{facts.UnreadSystem, c.systemDeployments},
		{facts.UnreadMeshes, c.meshes},
		{facts.UnreadWebhooks, c.webhooks},
		{facts.UnreadFence, c.fences},
		{facts.UnreadRights, c.rights},
		{facts.UnreadNamespaces, c.namespaces},
		{facts.UnreadPods, c.pods},
		{facts.UnreadServices, c.services}, // needs what pods and kinds read
		{facts.UnreadCalls, c.calls},
		{facts.UnreadControlPlane, c.streams}, // needs what systemDeployments read
	} {
		if err := part.read(ctx, &f); err != nil {
			f.Unread = append(f.Unread, facts.Unread{What: part.what, Why: strings.ReplaceAll(err.Error(), "\n", "; ")})
		}
	}
	return f, nil
}

// versionOf reads "v1.36.3" or "v1.36.3-eks-1234567"; what can't be read is 0.
func versionOf(text string) facts.Version {
	v := facts.Version{Text: text}
	parts := strings.SplitN(strings.TrimPrefix(text, "v"), ".", 3)
	if len(parts) < 2 {
		return v
	}
	v.Major, _ = strconv.Atoi(parts[0])
	v.Minor, _ = strconv.Atoi(strings.TrimRight(parts[1], "+"))
	return v
}

func (c *Cluster) nodes(ctx context.Context, f *facts.Facts) error {
	list, err := c.typed.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, n := range list.Items {
		info := n.Status.NodeInfo
		f.Nodes = append(f.Nodes, facts.Node{
			Name: n.Name, OS: info.OperatingSystem, Arch: info.Architecture, Kubelet: versionOf(info.KubeletVersion),
		})
	}
	return nil
}

// matters says whether CRDs of an API group concern Tulle.
func matters(group string) bool {
	switch group {
	case names.Group, "cert-manager.io", "gateway.networking.k8s.io", "gateway.networking.x-k8s.io":
		return true
	}
	return false
}

func (c *Cluster) kinds(ctx context.Context, f *facts.Facts) error {
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	list, err := c.dynamic.Resource(crds).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, crd := range list.Items {
		f.Calls = append(f.Calls, callOf("CustomResourceDefinition", crd.GetName(), crd.Object, "spec", "conversion", "webhook", "clientConfig", "service")...)
		group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
		if matters(group) {
			f.Kinds[crd.GetName()] = kindOf(crd)
		}
	}
	return nil
}

func kindOf(crd unstructured.Unstructured) facts.Kind {
	k := facts.Kind{
		Name:    crd.GetName(),
		Bundle:  crd.GetAnnotations()["gateway.networking.k8s.io/bundle-version"],
		Channel: crd.GetAnnotations()["gateway.networking.k8s.io/channel"],
	}
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		if m, ok := v.(map[string]any); ok && m["served"] == true {
			name, _ := m["name"].(string)
			k.Served = append(k.Served, name)
		}
	}
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, v := range conditions {
		if m, ok := v.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
			k.Established = true
		}
	}
	return k
}

func (c *Cluster) certManager(ctx context.Context, f *facts.Facts) error {
	list, err := c.typed.AppsV1().Deployments("").List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/name in (cert-manager,webhook,cainjector)",
	})
	if err != nil {
		return err
	}
	for _, d := range list.Items {
		// "webhook" is anybody's name; cert-manager's parts carry its instance or its name in theirs.
		if strings.Contains(d.Name, "cert-manager") || d.Labels["app.kubernetes.io/instance"] == "cert-manager" {
			f.CertManager = append(f.CertManager, workloadOf(d))
		}
	}
	return nil
}

// systemDeployments tells the control plane's Deployments from the operator's by the revision label.
func (c *Cluster) systemDeployments(ctx context.Context, f *facts.Facts) error {
	list, err := c.typed.AppsV1().Deployments(c.System(ctx)).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, d := range list.Items {
		switch {
		case d.Labels[names.LabelRevision] != "":
			f.ControlPlane = append(f.ControlPlane, workloadOf(d))
		case d.Labels[names.LabelApp] == names.Operator:
			f.Operator = append(f.Operator, workloadOf(d))
		}
	}
	return nil
}

func workloadOf(d appsv1.Deployment) facts.Workload {
	w := facts.Workload{
		Namespace: d.Namespace, Name: d.Name, Revision: d.Labels[names.LabelRevision],
		Ready: d.Status.ReadyReplicas, Wanted: 1, Account: d.Spec.Template.Spec.ServiceAccountName,
	}
	if d.Spec.Replicas != nil {
		w.Wanted = *d.Spec.Replicas
	}
	if len(d.Spec.Template.Spec.Containers) > 0 {
		w.Image = d.Spec.Template.Spec.Containers[0].Image
	}
	return w
}

func (c *Cluster) meshes(ctx context.Context, f *facts.Facts) error {
	if _, installed := f.Kinds["meshes."+names.Group]; !installed {
		if _, unread := f.Missed(facts.UnreadKinds); !unread {
			return nil
		}
	}
	list, err := c.Meshes(ctx)
	f.Meshes = list
	return err
}

// Meshes lists the Mesh resources.
func (c *Cluster) Meshes(ctx context.Context) ([]v1alpha1.Mesh, error) {
	gvr := v1alpha1.GroupVersion().WithResource("meshes")
	list, err := c.dynamic.Resource(gvr).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	out := make([]v1alpha1.Mesh, len(list.Items))
	for i, u := range list.Items {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &out[i]); err != nil {
			return nil, fmt.Errorf("read Mesh %s: %w", u.GetName(), err)
		}
	}
	return out, nil
}
