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
	// Resizable tells that the API server lets the requests of a running pod change (pods/resize, by
	// default from Kubernetes 1.33 on). Then slot a, which serves first, asks for most of it; whoever has slot b serve
	// swaps the two requests. Otherwise either slot asks for half.
	Resizable bool
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

// share is how much of the proxy's requests a container asks for.
type share int

const (
	whole  share = iota
	half         // either of two slots
	most         // the slot that serves: all but little
	little       // the slot that stands by
)

// littleMemory is what an idle slot asks for at most: its process sleeps in 6 MB. Of the CPU it asks for
// a quarter, because that is also its weight while its Envoy starts, before the two are swapped.
const littleMemory = 16 << 20

// slotResources is one container's part of the proxy's resources. Only one slot works at a time, so
// together they ask for what the user wrote, and each may use the whole. A request that equals its limit
// is not divided, or the pod would lose its Guaranteed class.
func slotResources(r corev1.ResourceRequirements, part share) corev1.ResourceRequirements {
	if len(r.Requests) == 0 && len(r.Limits) == 0 {
		r = DefaultResources()
	}
	out := corev1.ResourceRequirements{Limits: r.Limits.DeepCopy(), Requests: corev1.ResourceList{}}
	for name, q := range r.Requests {
		if limit, limited := r.Limits[name]; limited && q.Cmp(limit) == 0 {
			out.Requests[name] = q.DeepCopy()
			continue
		}
		switch name {
		case corev1.ResourceCPU:
			out.Requests[name] = *resource.NewMilliQuantity(part.of(q.MilliValue(), q.MilliValue()/4), q.Format)
		case corev1.ResourceMemory:
			out.Requests[name] = *resource.NewQuantity(part.of(q.Value(), littleMemory), q.Format)
		default:
			out.Requests[name] = *resource.NewQuantity(part.of(q.Value(), q.Value()), q.Format)
		}
	}
	// A limit alone would become the request of each slot by the API server's default.
	for name, limit := range r.Limits {
		if _, asked := out.Requests[name]; !asked {
			out.Requests[name] = limit.DeepCopy()
		}
	}
	return out
}

// of takes the share of an amount, of which an idle slot gets at most idle.
func (p share) of(amount, idle int64) int64 {
	rounded := (amount + 1) / 2
	switch p {
	case half:
		return rounded
	case most:
		return amount - min(amount/2, idle)
	case little:
		return max(1, min(amount/2, idle))
	case whole:
	}
	return amount
}

// holdResources are those of the ordinary container of a gateway's pod. Where the proxy has a CPU limit,
// perhaps because a ResourceQuota counts them, it has one too.
func holdResources(proxy corev1.ResourceRequirements) corev1.ResourceRequirements {
	out := HoldResources()
	if !proxy.Limits.Cpu().IsZero() {
		out.Limits[corev1.ResourceCPU] = resource.MustParse("50m")
	}
	return out
}

// waitResources are those of Wait. Where the proxy's requests equal its limits, perhaps because the pod is
// Guaranteed, so do these.
func waitResources(proxy corev1.ResourceRequirements) corev1.ResourceRequirements {
	out := holdResources(proxy)
	cpu, memory := proxy.Limits.Cpu(), proxy.Limits.Memory()
	if !cpu.IsZero() && cpu.Cmp(*proxy.Requests.Cpu()) == 0 && !memory.IsZero() && memory.Cmp(*proxy.Requests.Memory()) == 0 {
		out.Requests = out.Limits.DeepCopy()
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
