// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// injection is what an earlier pass over the pod left in it; zero if there was none. The API server
// calls the webhook again when another one changed the pod, and people create pods from the output
// of "kubectl get".
type injection struct {
	done bool
	// init are the earlier pass's containers by name, as they are now.
	init map[string]corev1.Container
	// probes and metrics are what was moved then: the pod no longer says where it was.
	probes  protocol.Probes
	metrics *protocol.AppMetrics
}

// ourContainers and ourVolumes are the names that injection adds.
func ourContainer(name string) bool {
	return name == names.ContainerInit || name == names.ContainerSlotA || name == names.ContainerSlotB
}

func ourVolume(name string) bool {
	return name == names.VolumeRun || name == names.VolumeToken || name == names.VolumeTrust || name == names.VolumePod
}

func earlier(pod *corev1.Pod) injection {
	if _, ok := pod.Annotations[names.AnnotationInjected]; !ok {
		return injection{}
	}
	was := injection{done: true, init: map[string]corev1.Container{}}
	for _, c := range pod.Spec.InitContainers {
		if ourContainer(c.Name) {
			was.init[c.Name] = c
		}
	}
	for _, e := range was.init[names.ContainerSlotA].Env {
		// slots doubles dollars because the kubelet expands $(NAME). What can't be read was not
		// written by us and counts as absent.
		value := []byte(strings.ReplaceAll(e.Value, "$$", "$"))
		switch e.Name {
		case protocol.EnvProbes:
			var p protocol.Probes
			if json.Unmarshal(value, &p) == nil {
				was.probes = p
			}
		case protocol.EnvMetrics:
			var m protocol.AppMetrics
			if json.Unmarshal(value, &m) == nil && m.Port != 0 {
				was.metrics = &m
			}
		}
	}
	return was
}

// strip removes the containers that an earlier pass added; check has refused pods where they might
// be somebody else's.
func strip(pod *corev1.Pod) {
	pod.Spec.InitContainers = slices.DeleteFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return ourContainer(c.Name) })
}

// putVolumes adds our volumes, or sets those of an earlier pass right where they are.
func putVolumes(pod *corev1.Pod, ours []corev1.Volume) {
	kept := pod.Spec.Volumes[:0]
	done := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		if i := slices.IndexFunc(ours, func(o corev1.Volume) bool { return o.Name == v.Name }); i >= 0 {
			if done[v.Name] {
				continue
			}
			done[v.Name], v = true, ours[i]
		}
		kept = append(kept, v)
	}
	for _, v := range ours {
		if !done[v.Name] {
			kept = append(kept, v)
		}
	}
	pod.Spec.Volumes = kept
}

// keep returns one of our containers with what the API server's own admission has added to the
// earlier one and checks again later: the pull policy of AlwaysPullImages, the defaults of a
// LimitRange. All else is ours. The mount of the application's API token, which it adds to every
// container, goes: the proxy has no business with the API server.
func (was injection) keep(c corev1.Container) corev1.Container {
	old, ok := was.init[c.Name]
	if !ok {
		return c
	}
	if old.ImagePullPolicy != "" {
		c.ImagePullPolicy = old.ImagePullPolicy
	}
	c.TerminationMessagePath, c.TerminationMessagePolicy = old.TerminationMessagePath, old.TerminationMessagePolicy
	c.Resources.Requests = withMissing(c.Resources.Requests, old.Resources.Requests)
	c.Resources.Limits = withMissing(c.Resources.Limits, old.Resources.Limits)
	return c
}

func withMissing(list, old corev1.ResourceList) corev1.ResourceList {
	for name, q := range old {
		if _, ok := list[name]; ok {
			continue
		}
		if list == nil {
			list = corev1.ResourceList{}
		}
		list[name] = q.DeepCopy()
	}
	return list
}
