// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

// UpgradePods lists the pods that carry a proxy, as an upgrade sees them. Nodes that may not be read
// are no reason to fail: their kubelets are taken to be new enough.
func (c *Cluster) UpgradePods(ctx context.Context) ([]upgrade.Pod, error) {
	spaces, err := c.typed.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: names.LabelUpgrade})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	orders, kubelets := map[string]string{}, map[string]string{}
	for _, n := range spaces.Items {
		orders[n.Name] = n.Labels[names.LabelUpgrade]
	}
	if nodes, err := c.typed.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err == nil {
		for _, n := range nodes.Items {
			kubelets[n.Name] = n.Status.NodeInfo.KubeletVersion
		}
	}
	var out []upgrade.Pod
	err = c.eachPod(ctx, metav1.NamespaceAll, names.LabelProxy, func(p *corev1.Pod) error {
		out = append(out, upgrade.PodFrom(p, orders[p.Namespace], kubelets[p.Spec.NodeName]))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	return out, nil
}
