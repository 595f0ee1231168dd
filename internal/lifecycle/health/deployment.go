// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package health

import (
	"cmp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/api/v1alpha1"
)

// DeploymentHealth is the judgement on a Deployment.
type DeploymentHealth struct {
	Verdict
	// Replicas wanted and ReadyReplicas that can serve.
	Replicas, ReadyReplicas int32
}

// Deployment judges a Deployment; nil means it is not there. pods are its pods, and are only
// looked at to say why none is ready. what names it in messages, "the control plane".
func Deployment(d *appsv1.Deployment, pods []corev1.Pod, what string) DeploymentHealth {
	if d == nil {
		return DeploymentHealth{Verdict: *bad(v1alpha1.ReasonRollingOut, "%s is being deployed", what)}
	}
	h := DeploymentHealth{Replicas: 1, ReadyReplicas: d.Status.ReadyReplicas}
	if d.Spec.Replicas != nil {
		h.Replicas = *d.Spec.Replicas
	}
	settled := d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas >= h.Replicas
	switch {
	case settled && h.ReadyReplicas >= h.Replicas && d.Status.UnavailableReplicas == 0:
		h.Verdict = Verdict{Good: true, Reason: v1alpha1.ReasonServing, Message: "every replica of " + what + " is ready"}
	case h.ReadyReplicas > 0:
		h.Verdict = *bad(v1alpha1.ReasonDegraded, "%s serves with %d of %d replicas ready%s", what, min(h.ReadyReplicas, h.Replicas), h.Replicas, because(d, pods))
		h.Good = true
	case stalled(d):
		h.Verdict = *bad(v1alpha1.ReasonUnavailable, "no replica of %s is ready%s; look at: kubectl describe deployment -n %s %s", what, because(d, pods), d.Namespace, d.Name)
	default:
		h.Verdict = *bad(v1alpha1.ReasonRollingOut, "no replica of %s is ready yet%s", what, because(d, pods))
	}
	return h
}

// PodState returns what of a pod Deployment looks at: its conditions and the states of its containers. Nearly all of
// a pod's size is in its spec.
func PodState(p corev1.Pod) corev1.Pod {
	return corev1.Pod{Status: corev1.PodStatus{
		Conditions: p.Status.Conditions, InitContainerStatuses: p.Status.InitContainerStatuses, ContainerStatuses: p.Status.ContainerStatuses,
	}}
}

func stalled(d *appsv1.Deployment) bool {
	return slices.ContainsFunc(d.Status.Conditions, func(c appsv1.DeploymentCondition) bool {
		return c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse ||
			c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue
	})
}

// because gives the first reason, in alphabetical order, that a pod gives for not being ready, or else
// why there are no pods. Pods are not named, because their names change while the reason stays.
func because(d *appsv1.Deployment, pods []corev1.Pod) string {
	var why []string
	for _, p := range pods {
		if w := whyNotReady(p); w != "" {
			why = append(why, w)
		}
	}
	if len(why) == 0 {
		return refused(d)
	}
	return " (" + slices.Min(why) + ")"
}

// refused is why the API server takes no pods of the Deployment: a quota, or an admission webhook.
func refused(d *appsv1.Deployment) string {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue && c.Message != "" {
			why := c.Message
			for _, before := range []string{" is forbidden: ", " is invalid: "} { // pods "NAME", which changes
				if _, rest, named := strings.Cut(why, before); named {
					why = rest
				}
			}
			if before, after, found := strings.Cut(why, ", used: "); found { // and so does what is used
				why = before
				if _, limited, found := strings.Cut(after, ", limited: "); found {
					why += ", limited: " + limited
				}
			}
			return " (its pods are refused: " + sentence(why) + ")"
		}
	}
	return ""
}

func whyNotReady(p corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "not scheduled: " + sentence(c.Message)
		}
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if why := whyWaiting(s); why != "" {
			return "container " + s.Name + " of image " + s.Image + ": " + why
		}
	}
	return ""
}

// whyWaiting gives one reason for what the kubelet tells in turns: pulling failed and waits to be
// tried again, or the container ended, waits, and runs again for a moment. The kubelet's messages
// count seconds and are left out.
func whyWaiting(s corev1.ContainerStatus) string {
	if w := s.State.Waiting; w != nil {
		switch w.Reason {
		case "", "PodInitializing", "ContainerCreating", "CrashLoopBackOff":
		case "ErrImagePull":
			return "ImagePullBackOff"
		default:
			return w.Reason
		}
	}
	if !s.Ready && s.LastTerminationState.Terminated != nil {
		return "CrashLoopBackOff" + lastWords(s)
	}
	return ""
}

// lastWords is how a container that can't stay up ended.
func lastWords(s corev1.ContainerStatus) string {
	t := s.LastTerminationState.Terminated
	if t == nil {
		return ""
	}
	return ", ended with " + cmp.Or(sentence(t.Message), t.Reason)
}
