// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/pages"
)

// lookAtRollout looks at every pod that carries a proxy, while their versions differ or are about to.
// A mesh whose proxies are all of one release costs nothing here.
func (r *Reconciler) lookAtRollout(ctx context.Context, m *v1alpha1.Mesh, o *plan.Observed) error {
	serving, ok := r.Known.FindRevision(o.ServingRevision)
	if !ok || !m.DeletionTimestamp.IsZero() || !underWay(m, serving.Version, o.Proxies.ByVersion) {
		return nil
	}
	orders, err := r.orders(ctx)
	if err != nil {
		return err
	}
	kubelets, err := r.kubelets(ctx)
	if err != nil {
		return err
	}
	on := map[string]bool{}
	err = r.eachPods(ctx, func(pods []corev1.Pod) {
		for i := range pods {
			p := &pods[i]
			if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
				continue
			}
			if _, exists := kubelets[p.Spec.NodeName]; exists {
				on[p.Spec.NodeName] = true // else it runs nowhere yet, or only says so, and needs no image
			}
			seen := upgrade.PodFrom(p, orders[p.Namespace], kubelets[p.Spec.NodeName])
			if m.Spec.Upgrade.DataPlane == v1alpha1.DataPlaneRollout && seen.Obstacle == "" {
				seen.Obstacle = "spec.upgrade.dataPlane is Rollout"
			}
			o.Rollout.Pods = append(o.Rollout.Pods, seen)
		}
	}, client.HasLabels{names.LabelProxy})
	if err != nil {
		return fmt.Errorf("list Pods with a proxy: %w", err)
	}
	if o.Rollout.Gateways, err = r.gatewayDeployments(ctx, o); err != nil {
		return err
	}
	unfinished := m.Status.Upgrade != nil && m.Status.Upgrade.Finished == nil
	if wanted, ok := r.Known.Find(m.Spec.Version); ok && (wanted.Version != serving.Version || unfinished) {
		if err := r.lookAtImages(ctx, wanted.Revision(), wanted.ProxyImage, on, o); err != nil {
			return err
		}
	}
	if err := r.lookAtGround(ctx, m, o); err != nil {
		return err
	}
	r.lookAtChecks(ctx, m, o)
	return nil
}

// replicas are the pods of all revisions of the control plane: proxies may be connected to any.
func replicas(o *plan.Observed) []corev1.Pod {
	var all []corev1.Pod
	for _, list := range o.Pods {
		all = append(all, list...)
	}
	return all
}

// underWay tells whether versions differ, or are about to.
func underWay(m *v1alpha1.Mesh, serving string, byVersion map[string]int32) bool {
	u := m.Status.Upgrade
	if m.Spec.Version != serving && (u == nil || u.Phase != v1alpha1.PhaseRolledBack || u.Requested != m.Spec.Version) {
		return true
	}
	if u != nil && u.Finished == nil {
		return true
	}
	for v, n := range byVersion {
		if v != serving && n > 0 {
			return true
		}
	}
	return false
}

// orders is the label names.LabelUpgrade of the namespaces that have it.
func (r *Reconciler) orders(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	err := pages.Each(ctx, r.Live, func() *metav1.PartialObjectMetadataList {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
		return list
	}, func(list *metav1.PartialObjectMetadataList) error {
		for _, n := range list.Items {
			out[n.Name] = n.Labels[names.LabelUpgrade]
		}
		return nil
	}, client.HasLabels{names.LabelUpgrade})
	if err != nil {
		return nil, fmt.Errorf("list Namespaces: %w", err)
	}
	return out, nil
}

// kubelets is the version of each node's.
func (r *Reconciler) kubelets(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	err := pages.Each(ctx, r.Live, func() *corev1.NodeList { return &corev1.NodeList{} }, func(list *corev1.NodeList) error {
		for _, n := range list.Items {
			out[n.Name] = n.Status.NodeInfo.KubeletVersion
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list Nodes: %w", err)
	}
	return out, nil
}

// lookAtImages looks where the release's proxy image is.
func (r *Reconciler) lookAtImages(ctx context.Context, revision, image string, on map[string]bool, o *plan.Observed) error {
	var pods corev1.PodList
	err := r.Live.List(ctx, &pods, client.InNamespace(r.Namespace), client.MatchingLabels{names.LabelApp: names.ImagesApp, names.LabelRevision: revision})
	if err != nil {
		return fmt.Errorf("list Pods of the images: %w", err)
	}
	nodes := map[string]plan.Node{}
	for n := range on {
		nodes[n] = plan.Node{Name: n}
	}
	for _, p := range pods.Items {
		n, ok := nodes[p.Spec.NodeName]
		if !ok || len(p.Spec.Containers) == 0 || !p.DeletionTimestamp.IsZero() {
			continue
		}
		// Admission of the cluster may have replaced the repository by a mirror's.
		if n.Image = p.Spec.Containers[0].Image; n.Image != image && p.Annotations[names.AnnotationPulls] != image {
			continue
		}
		if n.Pulled = ready(p); !n.Pulled {
			n.Problem = upgrade.ProblemOf(p.Status.ContainerStatuses, names.ContainerImage)
			if n.Problem == "ContainerCreating" {
				n.Problem = ""
			}
		}
		nodes[n.Name] = n
	}
	for _, n := range nodes {
		o.Rollout.Nodes = append(o.Rollout.Nodes, n)
	}
	slices.SortFunc(o.Rollout.Nodes, func(a, b plan.Node) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}
