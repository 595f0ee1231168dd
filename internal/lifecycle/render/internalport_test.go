// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/debug"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/names"
)

// TestInternalPortByRelease: the pods of a release with the internal port are made with it, a token for it
// and the rights that it needs; those of an earlier release are as that release knows them, and the operator
// and the replicas see the difference.
func TestInternalPortByRelease(t *testing.T) {
	mesh := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
	for version, want := range map[string]bool{release.Current: true, "0.2.0": false} {
		in := Input{Mesh: mesh, Release: release.Release{Version: version}, Namespace: "tulle-system"}
		port, volume, asks, reads := false, false, false, false
		for _, o := range ControlPlane(in) {
			switch o.GetKind() {
			case "Deployment":
				var d appsv1.Deployment
				typed(t, o, &d)
				port = debug.HasInternalPort(&corev1.Pod{Spec: d.Spec.Template.Spec})
				volume = slices.ContainsFunc(d.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool {
					return v.Projected != nil && v.Projected.Sources[0].ServiceAccountToken.Audience == names.InternalAudience
				})
			case "ClusterRole":
				var r rbacv1.ClusterRole
				typed(t, o, &r)
				asks = slices.ContainsFunc(r.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "subjectaccessreviews") })
			case "Role":
				var r rbacv1.Role
				typed(t, o, &r)
				reads = slices.ContainsFunc(r.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "controlplanes/progress") })
			}
		}
		if port != want || volume != want || asks != want || reads != want {
			t.Errorf("%s: port %v, token %v, rights %v and %v", version, port, volume, asks, reads)
		}
		var s corev1.Service
		typed(t, Replicas(in), &s)
		if p := s.Spec.Ports[1]; p.Name != names.InternalPortName || p.TargetPort.StrVal != names.InternalPortName {
			t.Errorf("%s: the Service has %+v, which would list pods without the port", version, p)
		}
	}
}

func typed(t *testing.T, o Object, into any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, into); err != nil {
		t.Fatal(err)
	}
}
