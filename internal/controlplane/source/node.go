// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// NodeFrom trims a Node to its zone, which kube-proxy reads from the same label.
func NodeFrom(n *metav1.PartialObjectMetadata) model.NodeZone {
	return model.NodeZone{Name: n.Name, Zone: n.Labels[corev1.LabelTopologyZone]}
}
