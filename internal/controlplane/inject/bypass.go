// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// bypassesOf are ways round the mesh that a pod without our containers asks for: rights with which a
// container can change the redirection, become the proxy, or get the proxy's certificate. They are allowed
// and shown. Only what the pod's spec says in so many words is here: what every container has by default, such
// as CAP_SETUID of one that runs as root, is counted by "tulle check", because a warning that nearly every pod
// causes is not read. audience is that of the mesh's tokens.
func bypassesOf(pod *corev1.Pod, audience string) []string {
	var out []string
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		sc := c.SecurityContext
		if sc == nil {
			continue
		}
		if sc.Privileged != nil && *sc.Privileged {
			out = append(out, fmt.Sprintf("container %s is privileged and can bypass the mesh", c.Name))
			continue
		}
		if sc.Capabilities == nil {
			continue
		}
		for _, capability := range sc.Capabilities.Add {
			switch name := strings.TrimPrefix(strings.ToUpper(string(capability)), "CAP_"); name {
			case "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE", "ALL",
				"SETUID",                         // become the proxy's user, whose traffic is not redirected
				"NET_RAW",                        // send packets past the redirection
				"SYS_MODULE", "SYS_RAWIO", "BPF": // change the kernel, or what it does with packets
				out = append(out, fmt.Sprintf("container %s has capability %s and can bypass the mesh", c.Name, name))
			}
		}
	}
	if pod.Spec.HostPID {
		out = append(out, "the pod shares the host's process namespace (hostPID) and can see the proxy's processes")
	}
	if share := pod.Spec.ShareProcessNamespace; share != nil && *share {
		out = append(out, "the pod shares one process namespace (shareProcessNamespace): its containers can see the proxy's processes")
	}
	for _, v := range pod.Spec.Volumes {
		if ourVolume(v.Name) || v.Projected == nil {
			continue
		}
		if slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
			return s.ServiceAccountToken != nil && s.ServiceAccountToken.Audience == audience
		}) {
			out = append(out, fmt.Sprintf("volume %s has a token for %s: a container that mounts it can get the certificate of the pod's proxy", v.Name, audience))
		}
	}
	return out
}
