// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"tulle.dev/tulle/hack/cluster/layout"
)

// awaitAPI waits until the node has reported itself ready and the default
// service account is there, without which no pod can be made.
func awaitAPI(ctx context.Context, l layout.Layout) error {
	client, err := apiClient(l)
	if err != nil {
		return err
	}
	for {
		err := usable(ctx, client, l)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the components run, but the cluster is not usable: %w; the end of the kubelet's log:\n%s", err, tail(l.Log("kubelet"), 20))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func apiClient(l layout.Layout) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.Timeout = 5 * time.Second
	config.QPS, config.Burst = -1, -1
	return kubernetes.NewForConfig(config)
}

func usable(ctx context.Context, client kubernetes.Interface, l layout.Layout) error {
	n, err := client.CoreV1().Nodes().Get(ctx, l.NodeName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !nodeReady(n) {
		return fmt.Errorf("node %s is not Ready", n.Name)
	}
	_, err = client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
	return err
}

func nodeReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
