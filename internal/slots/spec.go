// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slots

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"tulle.dev/tulle/internal/protocol"
)

// Spec is all that the containers and volumes of a meshed pod depend on.
type Spec struct {
	// Image of the proxy, with its tag or digest.
	Image string
	// Kind is names.KindSidecar or names.KindGateway.
	Kind string
	// Gateway is the name of the Gateway, for names.KindGateway only.
	Gateway string
	// TrustDomain of the mesh, "cluster.local".
	TrustDomain string
	// ControlPlaneHost is the DNS name of the control plane's Service, see ControlPlaneHost.
	ControlPlaneHost string
	// Probes are those the agent answers for the application; nil: none.
	Probes protocol.Probes
	// AppMetrics is where the application's metrics are; nil: it has none.
	AppMetrics *protocol.AppMetrics
	// Single leaves the second slot out: the proxy is replaced with its pod.
	Single bool
	// Resources of the proxy as a whole; the zero value means DefaultResources.
	Resources corev1.ResourceRequirements

	// Exceptions from the redirection, for Init only.
	ExcludeInboundPorts  []uint16
	ExcludeOutboundPorts []uint16
	ExcludeOutboundIPs   []string // addresses or CIDRs
}

// ControlPlaneHost is the DNS name of a control-plane Service, which its serving certificate carries.
func ControlPlaneHost(service, namespace string) string { return service + "." + namespace + ".svc" }

// DefaultResources is what a proxy asks for unless somebody says otherwise: enough for some
// thousand requests per second. There is no CPU limit, because a throttled proxy slows an
// application down in ways nobody finds.
func DefaultResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("50m"),
			corev1.ResourceMemory: resource.MustParse("96Mi"),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
	}
}

// slotResources is one slot's part of the proxy's resources. Only one slot works at a time, so
// each asks for half and may use the whole: the pod costs the scheduler what the user wrote. A
// request that equals its limit is not halved, or the pod would lose its Guaranteed class. A single slot
// asks for all of it.
func slotResources(r corev1.ResourceRequirements, single bool) corev1.ResourceRequirements {
	if len(r.Requests) == 0 && len(r.Limits) == 0 {
		r = DefaultResources()
	}
	out := corev1.ResourceRequirements{Limits: r.Limits.DeepCopy(), Requests: corev1.ResourceList{}}
	for name, q := range r.Requests {
		limit, limited := r.Limits[name]
		if single || limited && q.Cmp(limit) == 0 {
			out.Requests[name] = q.DeepCopy()
			continue
		}
		if name == corev1.ResourceCPU {
			out.Requests[name] = *resource.NewMilliQuantity((q.MilliValue()+1)/2, q.Format)
			continue
		}
		out.Requests[name] = *resource.NewQuantity((q.Value()+1)/2, q.Format)
	}
	// A limit alone would become the request of each slot by the API server's default.
	for name, limit := range r.Limits {
		if _, asked := out.Requests[name]; !asked {
			out.Requests[name] = limit.DeepCopy()
		}
	}
	return out
}

// HoldResources are for a process that sleeps.
func HoldResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("1m"),
			corev1.ResourceMemory: resource.MustParse("8Mi"),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")},
	}
}
