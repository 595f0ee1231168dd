// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/slots"
)

// Images brings a release's proxy image to every node before any pod is given it: a slot whose image
// can't be pulled would make its whole pod NotReady. It waits, and costs a few megabytes.
func Images(in Input) Object {
	meta := in.meta()
	meta.Name = names.ImagesDaemonSet(in.Release.Revision())
	meta.Labels[names.LabelApp] = names.ImagesApp
	selector := map[string]string{names.LabelApp: names.ImagesApp, names.LabelRevision: in.Release.Revision()}
	return object("apps/v1", "DaemonSet", &appsv1.DaemonSet{
		ObjectMeta: meta,
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: selector},
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{
				Type:          appsv1.RollingUpdateDaemonSetStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: ptr(intstr.FromString("100%"))},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      merged(meta.Labels, map[string]string{names.LabelInject: names.InjectDisabled}),
					Annotations: map[string]string{names.AnnotationPulls: in.Release.ProxyImage},
				},
				Spec: corev1.PodSpec{
					AutomountServiceAccountToken:  ptr(false),
					TerminationGracePeriodSeconds: ptr(int64(1)),
					// Wherever a pod with a proxy can run.
					Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
					Containers: []corev1.Container{{
						Name:            names.ContainerImage,
						Image:           in.Release.ProxyImage,
						ImagePullPolicy: corev1.PullIfNotPresent,
						Command:         []string{protocol.SlotCommand, "hold"},
						Resources:       slots.HoldResources(),
						SecurityContext: slots.Restricted(),
					}},
				},
			},
		},
	})
}
