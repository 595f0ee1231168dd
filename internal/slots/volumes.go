// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slots

import (
	"path"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// tokenSeconds is how long a projected token lives; the kubelet renews it at 80 % of that.
const tokenSeconds = 3600

// Volumes are what the slots mount: the directory they share, the token that proves who the pod
// is, the roots, and the pod's labels and annotations.
func Volumes(s Spec) []corev1.Volume {
	return []corev1.Volume{
		{Name: names.VolumeRun, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			Medium:    corev1.StorageMediumMemory,
			SizeLimit: ptr(resource.MustParse("64Mi")),
		}}},
		{Name: names.VolumeToken, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			// Readable by every user of the pod, because slots and application run as different
			// ones; only the slots mount it.
			DefaultMode: ptr(int32(0o444)),
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience:          names.TokenAudience(s.TrustDomain),
				ExpirationSeconds: ptr(int64(tokenSeconds)),
				Path:              path.Base(protocol.TokenFile),
			}}},
		}}},
		{Name: names.VolumeTrust, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: names.TrustConfigMap},
			DefaultMode:          ptr(int32(0o444)),
			// A pod without roots can't work: let it wait for them, visibly.
			Optional: ptr(false),
		}}},
		{Name: names.VolumePod, VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
			DefaultMode: ptr(int32(0o444)),
			Items: []corev1.DownwardAPIVolumeFile{
				{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.labels"}},
				{Path: "annotations", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.annotations"}},
			},
		}}},
	}
}
