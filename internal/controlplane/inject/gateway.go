// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/slots"
)

// claimsGateway tells whether a pod passes for the pod of a Gateway, by its label or as a copy that lacks it.
func claimsGateway(pod *corev1.Pod) bool {
	return pod.Labels[names.LabelProxy] == names.KindGateway || slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool {
		return ourContainer(c.Name) && runsOurs(c) && ofGateway(c)
	})
}

// gatewayPod tells whether a pod is one that the operator makes for a Gateway, or a copy of one: it has no
// container but the proxy's, of the proxy's image in any version, and these run nothing but the proxy, so there is
// nothing to inject for. With the label,
// it also has the account and the owner that the operator gives to the pods of that Gateway. (The operator labels
// these so that they don't come here at all.)
func gatewayPod(pod *corev1.Pod, image string) bool {
	if !claimsGateway(pod) {
		return false
	}
	if slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool {
		return c.Name != slots.ContainerHold && !ourContainer(c.Name) || !runsOurs(c) || !runsNothingElse(c) || repository(c.Image) != repository(image)
	}) || slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == names.VolumeRun && v.EmptyDir == nil }) {
		return false
	}
	if _, labelled := pod.Labels[names.LabelProxy]; !labelled {
		return true
	}
	name := names.GatewayResource(cmp.Or(pod.Annotations[names.AnnotationGateway], pod.Labels[names.LabelGateway]))
	owner := metav1.GetControllerOf(pod)
	return pod.Spec.ServiceAccountName == name && owner != nil && owner.Kind == "ReplicaSet" && strings.HasPrefix(owner.Name, name+"-")
}

// accountMount is where the API server mounts the token of a pod's account.
const accountMount = "/var/run/secrets/kubernetes.io/serviceaccount"

// runsNothingElse tells whether one of our containers runs no other program besides its command: by a hook or a
// probe, or by a file or variable that our containers do not have, from which a program or library could be loaded.
func runsNothingElse(c corev1.Container) bool {
	for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if p != nil && p.Exec != nil {
			return false
		}
	}
	if l := c.Lifecycle; l != nil {
		if l.PostStart != nil || l.PreStop != nil && (l.PreStop.Exec == nil || len(l.PreStop.Exec.Command) == 0 || l.PreStop.Exec.Command[0] != protocol.SlotCommand) {
			return false
		}
	}
	mounts := map[string]string{
		names.VolumeRun: protocol.RunDir, names.VolumeToken: path.Dir(protocol.TokenFile),
		names.VolumeTrust: path.Dir(protocol.TrustFile), names.VolumePod: protocol.PodDir,
	}
	return len(c.EnvFrom) == 0 && len(c.VolumeDevices) == 0 &&
		!slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return !strings.HasPrefix(e.Name, "TULLE_") }) &&
		!slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
			own := mounts[m.Name] == m.MountPath && m.SubPath == "" && m.SubPathExpr == ""
			return !own && m.MountPath != accountMount
		})
}

// ofGateway tells whether one of our containers is that of a Gateway's pod.
func ofGateway(c corev1.Container) bool {
	return slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == protocol.EnvKind && e.Value == names.KindGateway })
}

// falseGateway is why a pod that only passes for a Gateway's is refused. Without a word it would have no proxy,
// and would not be counted among the pods that lack one.
func falseGateway() string {
	return fmt.Sprintf("it has label %s=%s or the containers of a Gateway's pod, and the operator did not create it: remove these, or %s",
		names.LabelProxy, names.KindGateway, withoutProxy())
}

// repository is an image without its tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image = image[:i]
	}
	return image
}
