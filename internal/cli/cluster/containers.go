// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// containersOf reports on the containers of a pod that are not Tulle's, as far as they run with it.
func containersOf(p *corev1.Pod) []facts.Container {
	user := users(p)
	var out []facts.Container
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if tulles(c.Name) {
			continue
		}
		f := facts.Container{Name: c.Name, OpenHooks: openHooks(c), User: -1}
		if uid, known := user[c.Name]; known {
			f.User = uid
		}
		f.BecomesAnyUser = root(p, c, f.User) && (keeps(c, "SETUID") || keeps(c, "NET_RAW"))
		out = append(out, f)
	}
	for _, c := range p.Spec.EphemeralContainers {
		if uid, known := user[c.Name]; known {
			out = append(out, facts.Container{Name: c.Name, User: uid})
		}
	}
	return out
}

func tulles(container string) bool {
	switch container {
	case names.ContainerInit, names.ContainerSlotA, names.ContainerSlotB, names.ContainerWait:
		return true
	}
	return false
}

// users are the users that containers run as, where the kubelet reports them: it has read the image.
func users(p *corev1.Pod) map[string]int64 {
	out := map[string]int64{}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses) {
		if s.State.Running != nil && s.User != nil && s.User.Linux != nil {
			out[s.Name] = s.User.Linux.UID
		}
	}
	return out
}

// root reports whether a container runs as root, or may: the image decides, unless the pod does.
func root(p *corev1.Pod, c corev1.Container, user int64) bool {
	if user >= 0 {
		return user == 0
	}
	var uid *int64
	var nonRoot *bool
	if sc := p.Spec.SecurityContext; sc != nil {
		uid, nonRoot = sc.RunAsUser, sc.RunAsNonRoot
	}
	if sc := c.SecurityContext; sc != nil {
		if sc.RunAsUser != nil {
			uid = sc.RunAsUser
		}
		if sc.RunAsNonRoot != nil {
			nonRoot = sc.RunAsNonRoot
		}
	}
	if uid != nil {
		return *uid == 0
	}
	return nonRoot == nil || !*nonRoot
}

// keeps reports whether a container has a capability that container runtimes give by default.
func keeps(c corev1.Container, capability string) bool {
	if c.SecurityContext == nil || c.SecurityContext.Capabilities == nil {
		return true
	}
	has := func(list []corev1.Capability) bool {
		return slices.ContainsFunc(list, func(x corev1.Capability) bool {
			name := strings.TrimPrefix(strings.ToUpper(string(x)), "CAP_")
			return name == capability || name == "ALL"
		})
	}
	return has(c.SecurityContext.Capabilities.Add) || !has(c.SecurityContext.Capabilities.Drop)
}

// openHooks are the lifecycle hooks that an earlier release moved to a path of the agent that anybody can guess.
func openHooks(c corev1.Container) []string {
	if c.Lifecycle == nil {
		return nil
	}
	var out []string
	for _, h := range []struct {
		kind    string
		handler *corev1.LifecycleHandler
	}{{"postStart", c.Lifecycle.PostStart}, {"preStop", c.Lifecycle.PreStop}} {
		if h.handler != nil && h.handler.HTTPGet != nil && h.handler.HTTPGet.Port == intstr.FromInt32(names.PortAgent) &&
			strings.HasPrefix(h.handler.HTTPGet.Path, protocol.ProbePrefix) && protocol.ProbeToken(h.handler.HTTPGet.Path) == "" {
			out = append(out, h.kind)
		}
	}
	return out
}
