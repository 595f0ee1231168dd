// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"tulle.dev/tulle/internal/names"
)

// slimPod removes from a pod what WorkloadFrom does not read. A reflector holds all objects of a kind until it has
// read the last one, and a tenant's pod may have more than a megabyte.
func slimPod(p *corev1.Pod) {
	annotations := map[string]string{}
	for _, k := range []string{
		names.AnnotationInjected, names.AnnotationProxyLogLevel, names.AnnotationProxyConcurrency, names.AnnotationDrainSeconds, names.AnnotationGateway,
	} {
		if v, set := p.Annotations[k]; set {
			annotations[k] = v
		}
	}
	p.ObjectMeta = metav1.ObjectMeta{
		Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion, Labels: p.Labels, Annotations: annotations,
	}
	s := p.Spec
	p.Spec = corev1.PodSpec{
		NodeName: s.NodeName, ServiceAccountName: s.ServiceAccountName, HostNetwork: s.HostNetwork,
		Containers: slimContainers(s.Containers), InitContainers: slimContainers(s.InitContainers),
	}
	p.Status = corev1.PodStatus{
		Phase: p.Status.Phase, Conditions: p.Status.Conditions,
		PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs, HostIP: p.Status.HostIP, HostIPs: p.Status.HostIPs,
	}
}

func slimContainers(list []corev1.Container) []corev1.Container {
	var out []corev1.Container
	for _, c := range list {
		out = append(out, corev1.Container{Ports: c.Ports, RestartPolicy: c.RestartPolicy})
	}
	return out
}

// Transformer has the reflector keep little of each object (cache.TransformingStore).
func (s *shelf) Transformer() cache.TransformFunc {
	if s.feed.slim == nil {
		return nil
	}
	return func(in any) (any, error) {
		s.feed.slim(in)
		return in, nil
	}
}
