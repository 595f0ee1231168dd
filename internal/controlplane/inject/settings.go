// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/slots"
)

// Settings are all that injection depends on beside the pod and its namespace. Immutable.
type Settings struct {
	// Image of the proxy; nothing in a pod can override it.
	Image string
	// Version is the release, Revision the control plane that injects.
	Version, Revision string
	// SystemNamespace is never injected.
	SystemNamespace  string
	TrustDomain      string
	ControlPlaneHost string
	// Namespaces selects namespaces to inject beside those labelled so; nil: none.
	Namespaces labels.Selector
	// Annotations are those of the closed list that workloads may set here; nil: all of it.
	Annotations []string
	// Resources of the proxy where the pod does not say otherwise; zero: slots.DefaultResources.
	Resources corev1.ResourceRequirements
	// Resizable tells that the API server serves pods/resize, see slots.Spec.
	Resizable bool
	// SingleSlot gives pods one proxy slot: proxies are replaced by restarting workloads.
	SingleSlot bool
	// ProbeToken becomes part of the paths of moved probes, unless the pod has one of an earlier injection.
	// It must be new for each pod or pod template (NewProbeToken). Without it no pod that has probes to move is
	// injected.
	ProbeToken string
	// LingerSeconds is how long containers without a preStop hook go on serving after their pod's
	// deletion, so that peers hear of it before the application ends; 0: not at all. See linger.go.
	LingerSeconds int64
}

// NamespaceFacts are what injection reads of a pod's namespace.
type NamespaceFacts struct {
	Name   string
	Labels map[string]string
	Bounds Bounds
}

// lingerSeconds covers the way of an endpoint's removal: kubelet, API server, control plane, peers.
const lingerSeconds = 5

// SettingsFrom reads what a Mesh says about injection. image is the proxy's, version and revision
// are this control plane's own, which differ from the Mesh's while an upgrade is under way. The
// error is for a selector that the API server should have refused.
func SettingsFrom(mesh *v1alpha1.Mesh, image, version, revision, systemNamespace string) (Settings, error) {
	s := Settings{
		Image: image, Version: version, Revision: revision, SystemNamespace: systemNamespace,
		TrustDomain:      mesh.Spec.TrustDomain,
		ControlPlaneHost: slots.ControlPlaneHost(names.ControlPlaneService, systemNamespace),
		Resources:        *mesh.Spec.Proxy.Resources.DeepCopy(),
		LingerSeconds:    lingerSeconds,
		SingleSlot:       mesh.Spec.Upgrade.DataPlane == v1alpha1.DataPlaneRollout,
	}
	if sel := mesh.Spec.Injection.NamespaceSelector; sel != nil {
		parsed, err := metav1.LabelSelectorAsSelector(sel)
		if err != nil {
			return Settings{}, fmt.Errorf("read spec.injection.namespaceSelector of Mesh %s: %w", mesh.Name, err)
		}
		s.Namespaces = parsed
	}
	if allowed := mesh.Spec.Injection.AllowedAnnotations; allowed != nil {
		s.Annotations = []string{}
		for _, a := range *allowed {
			s.Annotations = append(s.Annotations, string(a))
		}
	}
	return s, nil
}
