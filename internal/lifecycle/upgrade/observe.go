// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"tulle.dev/tulle/internal/clip"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// inPlaceKubelet is the first minor release of the kubelet (1.x) that restarts a native sidecar whose image changed.
const inPlaceKubelet = 32

// PodFrom is a pod with a proxy as an upgrade sees it. order is the label names.LabelUpgrade of its
// namespace, which precedes the pod's own if it says "never"; kubelet is the version of its node's; empty: not known, and then not in the way.
func PodFrom(p *corev1.Pod, order, kubelet string) Pod {
	out := Pod{
		Namespace: p.Namespace, Name: p.Name, UID: p.UID,
		Workload: workloadOf(p), Restart: restartOf(p), Labels: labelsOf(p), Node: p.Spec.NodeName, Order: orderOf(p.Labels[names.LabelUpgrade], order),
		Ready: isReady(p), Deleting: !p.DeletionTimestamp.IsZero(), Created: p.CreationTimestamp.Time,
		Template: cmp.Or(p.Labels[appsv1.DefaultDeploymentUniqueLabelKey], p.Labels[appsv1.ControllerRevisionHashLabelKey]),
	}
	out.RestartedFor, _, _ = strings.Cut(cmp.Or(p.Annotations[names.AnnotationRestart], p.Annotations[names.AnnotationRestart020]), "/")
	out.RestartedFor = clip.Text(out.RestartedFor, longestText)
	slots := 0
	for _, c := range p.Spec.InitContainers {
		into := out.slotOf(c.Name)
		if into == nil || len(c.Image) > longestText {
			continue
		}
		problem := ProblemOf(p.Status.InitContainerStatuses, c.Name)
		*into = Slot{Image: c.Image, Problem: clip.Text(problem, longestText), Requests: requestsOf(c)}
		slots++
	}
	if slots > 0 {
		out.Kind = p.Labels[names.LabelProxy]
	}
	if a := p.Annotations[names.AnnotationTarget]; a != "" {
		if err := json.Unmarshal([]byte(a), &out.Target); err != nil || len(a) > longestText {
			out.Target = protocol.Target{}
			out.Obstacle = "its annotation " + names.AnnotationTarget + " can't be read: delete the pod, and its successor is of the new release"
		}
	}
	if v, err := version.ParseGeneric(kubelet); slots < 2 {
		out.Obstacle = "it has no second slot"
	} else if err == nil && v.Major() == 1 && v.Minor() < inPlaceKubelet {
		out.Obstacle = fmt.Sprintf("the kubelet of its node is %s, and replaces no container in place before 1.%d", kubelet, inPlaceKubelet)
	}
	return out
}

// orderOf is the order of a pod: its own label precedes its namespace's, but takes it into no upgrade that the namespace
// takes no part in.
func orderOf(pod, namespace string) string {
	if namespace == names.UpgradeNever {
		return namespace
	}
	return cmp.Or(pod, namespace)
}

// Bounds on what is kept of a pod. Whoever creates a pod may write a megabyte into most of its fields, with the labels
// of a pod that has a proxy.
const (
	longestText  = 1024 // of a name, an image, a message or an order
	mostRequests = 16
)

// labelsCut is the key of an empty label of a pod of which not all labels are kept. No label has this key.
const labelsCut = ""

// LabelsCut reports whether the pod has more labels than are kept, so that it is not known which selectors match it.
func (p Pod) LabelsCut() bool {
	_, cut := p.Labels[labelsCut]
	return cut
}

// labelsOf are the pod's labels, or only those that an upgrade reads itself if they are too many.
func labelsOf(p *corev1.Pod) map[string]string {
	kept, whole := clip.Labels(p.Labels, clip.MostLabels, clip.LongestLabels, names.LabelProxy, names.LabelVersion, names.LabelRevision, names.LabelUpgrade)
	if !whole {
		kept[labelsCut] = ""
	}
	return kept
}

func requestsOf(c corev1.Container) corev1.ResourceList {
	if len(c.Resources.Requests) > mostRequests {
		return nil
	}
	return c.Resources.Requests
}

// slotOf is the slot that a container is; nil: it is none.
func (p *Pod) slotOf(container string) *Slot {
	switch container {
	case names.ContainerSlotA:
		return &p.A
	case names.ContainerSlotB:
		return &p.B
	}
	return nil
}

// controllerOf is what made the pod; nil: nothing, or something whose name no object can have.
func controllerOf(p *corev1.Pod) *metav1.OwnerReference {
	o := metav1.GetControllerOf(p)
	if o == nil || len(o.Kind)+len(o.Name) > longestText {
		return nil
	}
	return o
}

// restartOf is the workload that makes the pod anew when its template changes.
func restartOf(p *corev1.Pod) Restart {
	o := controllerOf(p)
	if o == nil {
		return Restart{}
	}
	switch o.Kind {
	case "StatefulSet", "DaemonSet":
		return Restart{Kind: o.Kind, Name: o.Name}
	case "ReplicaSet":
		// A Deployment's ReplicaSet is called after it and the hash of the template.
		if name, ok := strings.CutSuffix(o.Name, "-"+p.Labels["pod-template-hash"]); ok && p.Labels["pod-template-hash"] != "" {
			return Restart{Kind: "Deployment", Name: name}
		}
	}
	return Restart{}
}

// workloadOf names what made the pod.
func workloadOf(p *corev1.Pod) string {
	if o := controllerOf(p); o != nil {
		return p.Namespace + "/" + o.Kind + "/" + o.Name
	}
	return p.Namespace + "/Pod/" + p.Name
}

func isReady(p *corev1.Pod) bool {
	i := slices.IndexFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady })
	return i >= 0 && p.Status.Conditions[i].Status == corev1.ConditionTrue && p.DeletionTimestamp.IsZero()
}

// ProblemOf says why a container does not run, in the kubelet's words; empty: it runs, or nothing is known.
func ProblemOf(list []corev1.ContainerStatus, name string) string {
	i := slices.IndexFunc(list, func(s corev1.ContainerStatus) bool { return s.Name == name })
	if i < 0 {
		return ""
	}
	switch s := list[i].State; {
	case s.Waiting != nil && s.Waiting.Message != "":
		return s.Waiting.Reason + ": " + s.Waiting.Message
	case s.Waiting != nil:
		return s.Waiting.Reason
	case s.Terminated != nil:
		return fmt.Sprintf("ended with code %d", s.Terminated.ExitCode)
	}
	return ""
}

// LeftOut says why a pod's proxy is not replaced in place; empty: it is.
func (p Pod) LeftOut() string {
	switch {
	case p.Kind == "":
		return "it has no container of a proxy"
	case p.Kind == names.KindGateway:
		return "a Gateway's proxies are deployed anew, by their Deployment"
	case p.Order == names.UpgradeNever:
		return "the label " + names.LabelUpgrade + "=" + names.UpgradeNever + " of it or of its namespace"
	case p.Deleting:
		return "it is being deleted"
	}
	return p.Obstacle
}

// Restarts tells whether the pod's proxy is replaced by restarting its workload.
func (p Pod) Restarts() bool { return p.takesPart() && p.Obstacle != "" && p.Restart != (Restart{}) }

// Version is the release of the proxy that serves, as the pod's label says.
func (p Pod) Version() string { return p.label() }
