// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tulle.dev/tulle/internal/names"
)

// decision is whether a pod is to be injected.
type decision struct {
	inject bool
	// warning tells the author of a pod that asked for a proxy why it gets none, or that a label means nothing.
	warning string
	// problem refuses the pod.
	problem string
}

// decide asks the pod, then its namespace, then the Mesh's selector; the first that says something wins.
func decide(pod *corev1.Pod, ns NamespaceFacts, s Settings) decision {
	if gatewayPod(pod, s.Image) {
		return decision{} // made by the operator, complete as it is
	}
	wanted := asks(pod, ns, s)
	if wanted.inject && claimsGateway(pod) {
		return decision{problem: falseGateway()}
	}
	if !wanted.inject {
		return wanted
	}
	if why := cannot(pod, ns, s); why != "" {
		return decision{warning: "Tulle does not inject this pod: " + why}
	}
	return wanted
}

// asks is whether a proxy is asked for, for a pod that may be unable to have one.
func asks(pod *corev1.Pod, ns NamespaceFacts, s Settings) decision {
	if v, set := pod.Labels[names.LabelClient]; set && v != names.ClientGRPC {
		return decision{problem: fmt.Sprintf("label %s has value %q, allowed is %q", names.LabelClient, v, names.ClientGRPC)}
	}
	switch v, set := pod.Labels[names.LabelInject]; {
	case set && v == names.InjectDisabled:
		return decision{}
	case set && v == names.InjectEnabled:
		return decision{inject: true}
	case !set && pod.Labels[names.LabelClient] != "":
		return decision{} // its application does without; whoever wants both says so
	case set:
		return decision{problem: fmt.Sprintf("label %s has value %q, allowed are %q and %q",
			names.LabelInject, v, names.InjectEnabled, names.InjectDisabled)}
	}
	return ofNamespace(ns, s)
}

func ofNamespace(ns NamespaceFacts, s Settings) decision {
	switch v, set := ns.Labels[names.LabelInject]; {
	case set && v == names.InjectEnabled:
		return decision{inject: true}
	case set && v == names.InjectDisabled:
		return decision{}
	case set:
		return decision{warning: fmt.Sprintf("namespace %s has label %s=%q, which means nothing to Tulle: allowed are %q and %q",
			ns.Name, names.LabelInject, v, names.InjectEnabled, names.InjectDisabled)}
	}
	return decision{inject: s.Namespaces != nil && s.Namespaces.Matches(labels.Set(ns.Labels))}
}

// cannot says why a pod can have no proxy although somebody asked for one; "" if it can.
func cannot(pod *corev1.Pod, ns NamespaceFacts, s Settings) string {
	switch {
	case ns.Name == s.SystemNamespace && s.SystemNamespace != "", ns.Name == "kube-system":
		return fmt.Sprintf("namespace %s is never part of the mesh", ns.Name)
	case pod.Spec.HostNetwork:
		return "it uses the host's network (hostNetwork: true), whose traffic cannot be redirected for one pod"
	case pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows:
		return "it is a Windows pod, and the proxy runs on Linux"
	case pod.Annotations[corev1.MirrorPodAnnotationKey] != "":
		return "it mirrors a static pod, which the kubelet runs from a file"
	}
	return ""
}
