// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/names"
)

// ourPort tells whether a TCP port of the pod is the proxy's.
func ourPort(port int) bool {
	switch port {
	case names.PortOutbound, names.PortInbound, names.PortAgent, names.PortReady, names.PortDNS:
		return true
	}
	return false
}

// enforceLabel is Pod Security admission's, https://kubernetes.io/docs/concepts/security/pod-security-admission/.
const enforceLabel = "pod-security.kubernetes.io/enforce"

// withoutProxy is the way out for whoever can't change what keeps a pod from being injected.
func withoutProxy() string {
	return fmt.Sprintf("label the pod %s=%s to run it without a proxy", names.LabelInject, names.InjectDisabled)
}

// check returns all that keeps a pod from being injected, in the order of the pod's fields. The pod is
// without what an earlier injection wrote.
func check(pod *corev1.Pod, ns NamespaceFacts) []string {
	var out []string
	if level := ns.Labels[enforceLabel]; level == "baseline" || level == "restricted" {
		out = append(out, fmt.Sprintf("namespace %s enforces Pod Security %q, which forbids the capability NET_ADMIN that the init container %s needs: "+
			"label the namespace %s=privileged (warn and audit may stay), or %s",
			ns.Name, level, names.ContainerInit, enforceLabel, withoutProxy()))
	}
	if sc := pod.Spec.SecurityContext; sc != nil {
		out = append(out, identityOfProxy("the pod", sc.RunAsUser, sc.RunAsGroup)...)
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if len(out) > maxProblems {
			break // not all are named
		}
		out = append(out, checkContainer(c)...)
	}
	return out
}

// tooMuch refuses a pod with more containers than injection goes through, or with longer names, which are
// repeated in messages; "" for others.
func tooMuch(pod *corev1.Pod) string {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if len(c.Name) > maxName {
			return fmt.Sprintf("a container has a name of %d characters: at most %d are allowed", len(c.Name), maxName)
		}
	}
	if n := len(pod.Spec.InitContainers) + len(pod.Spec.Containers); n > maxContainers {
		return fmt.Sprintf("the pod has %d containers, and at most %d can share a proxy: split it, or %s", n, maxContainers, withoutProxy())
	}
	return ""
}

// maxName is the length of a DNS label, which a container's name is.
const maxName = 63

// maxContainers bounds the work and the memory of an injection. No node runs a pod of so many.
const maxContainers = 256

func checkContainer(c corev1.Container) []string {
	var out []string
	who := "container " + c.Name
	if ourContainer(c.Name) {
		out = append(out, who+" has a name that Tulle uses for its own: rename it")
	}
	if sc := c.SecurityContext; sc != nil {
		out = append(out, identityOfProxy(who, sc.RunAsUser, sc.RunAsGroup)...)
	}
	for _, p := range c.Ports {
		udp := p.Protocol == corev1.ProtocolUDP
		if p.Protocol == corev1.ProtocolSCTP || !ourPort(int(p.ContainerPort)) || udp && p.ContainerPort != names.PortDNS {
			continue
		}
		out = append(out, fmt.Sprintf("%s uses port %d, which the proxy needs (its ports are %d, %d, %d, %d and %d): have the application listen on "+
			"another port; if it can't, %s", who, p.ContainerPort,
			names.PortOutbound, names.PortInbound, names.PortAgent, names.PortReady, names.PortDNS, withoutProxy()))
	}
	for _, a := range aims(&c) {
		if a.http != nil && len(a.http.HTTPHeaders) > maxProbeHeaders {
			out = append(out, fmt.Sprintf("%s of %s has %d headers, and at most %d can be moved to the proxy: set fewer", a.kind, who, len(a.http.HTTPHeaders), maxProbeHeaders))
		}
		// Moving such a probe would make the agent ask itself.
		if port, ok := portOf(&c, a.port()); ok && ourPort(int(port)) {
			out = append(out, fmt.Sprintf("%s of %s asks port %d, which is the proxy's: set the application's port", a.kind, who, port))
		}
	}
	for _, m := range c.VolumeMounts {
		if ourVolume(m.Name) {
			out = append(out, fmt.Sprintf("%s mounts volume %s, a name that Tulle uses for a volume of the proxy alone: give the volume another name, or remove the mount", who, m.Name))
		}
	}
	return out
}

// identityOfProxy refuses the proxy's user and group: their traffic is not redirected.
func identityOfProxy(who string, user, group *int64) []string {
	var out []string
	for _, id := range []struct {
		field string
		value *int64
	}{{"runAsUser", user}, {"runAsGroup", group}} {
		if id.value != nil && *id.value == names.ProxyUID {
			out = append(out, fmt.Sprintf("%s sets securityContext.%s to %d, which is the proxy's and bypasses the mesh: set another there; if the image runs as no other, %s", who, id.field, names.ProxyUID, withoutProxy()))
		}
	}
	return out
}
