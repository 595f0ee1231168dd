// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// injection is what an earlier injection left in the pod, by this release or another; zero if there
// was none. The API server calls the webhook again when another one changed the pod, and people create
// pods from what they read of others: from "kubectl get", a backup, "kubectl debug --copy-to". Such a
// copy may lack any part, its labels and annotations most often, so no part depends on another here.
//
// All of it comes from the author of the pod. It says what the application's own probes, metrics and
// resources were, which the author may choose anyway, and nothing about Tulle's containers.
type injection struct {
	// recorded tells that the pod has the record of an injection.
	recorded bool
	// init are the earlier containers by name, as they are now.
	init map[string]corev1.Container
	// token is in the paths of the moved probes; "" if there is none. It stays, so that a second injection
	// changes nothing. Its author could write the probes themselves, so it gives no right.
	token string
	// probes and metrics are what was moved then, as far as it is recorded.
	probes  protocol.Probes
	metrics *protocol.AppMetrics
	// added is by what the pod's own resources have grown.
	added corev1.ResourceList
}

// ourContainer and ourVolume tell whether injection adds something of that name.
func ourContainer(name string) bool {
	switch name {
	case names.ContainerInit, names.ContainerSlotA, names.ContainerSlotB, names.ContainerWait:
		return true
	}
	return false
}

func ourVolume(name string) bool {
	return name == names.VolumeRun || name == names.VolumeToken || name == names.VolumeTrust || name == names.VolumePod
}

// runsOurs tells whether a container runs a program of the proxy's image, as all of Tulle's do.
func runsOurs(c corev1.Container) bool {
	return len(c.Command) > 0 && (c.Command[0] == protocol.SlotCommand || c.Command[0] == protocol.ProxyCommand)
}

// wrote tells whether injection wrote an init container, which is then replaced. One of such a name
// that runs something else, in a pod without a record, is the author's own.
func (was injection) wrote(c corev1.Container) bool {
	return ourContainer(c.Name) && (was.recorded || runsOurs(c))
}

// earlier reads what an earlier injection left. What can't be read was not written by Tulle and counts
// as absent.
func earlier(pod *corev1.Pod) injection {
	was := injection{init: map[string]corev1.Container{}}
	record, ok := pod.Annotations[names.AnnotationInjected]
	was.recorded = ok
	for _, c := range pod.Spec.InitContainers {
		if was.wrote(c) {
			was.init[c.Name] = c
		}
	}
	was.token = tokenOf(pod)
	was.readRecord(record)
	for _, slot := range []string{names.ContainerSlotB, names.ContainerSlotA} { // slot a counts
		was.readEnvironment(was.init[slot].Env)
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if _, known := was.added[name]; known {
			continue
		}
		sum := was.init[names.ContainerSlotA].Resources.Requests[name].DeepCopy()
		sum.Add(was.init[names.ContainerSlotB].Resources.Requests[name])
		if !sum.IsZero() {
			set(&was.added, name, sum)
		}
	}
	return was
}

// tokenOf returns the token of the first probe that an earlier injection has moved.
func tokenOf(pod *corev1.Pod) string {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, a := range aims(&list[i]) {
				if !a.moved() {
					continue
				}
				if token := protocol.ProbeToken(a.http.Path); token != "" {
					return token
				}
			}
		}
	}
	return ""
}

// maxRecord is the longest text that is read as a record, in bytes, and maxRecordShape the structure of
// one. An author may write any into a pod, and its structure is not counted with the pod's.
const maxRecord = 256 << 10

func maxRecordShape() bounded.Shape { return bounded.Shape{Elements: 4000, Members: 20_000, Depth: 16} }

// readJSON decodes a record, and tells whether that was possible.
func readJSON(text string, into any) bool {
	return len(text) <= maxRecord && bounded.Check([]byte(text), maxRecordShape()) == nil && json.Unmarshal([]byte(text), into) == nil
}

func (was *injection) readRecord(text string) {
	var r protocol.Injected
	if !readJSON(text, &r) {
		return
	}
	if valid(r.AppMetrics) {
		was.metrics = r.AppMetrics
	}
	for name, amount := range r.AddedToPod {
		if q := quantity(amount); q != nil {
			set(&was.added, corev1.ResourceName(name), *q)
		}
	}
}

func (was *injection) readEnvironment(env []corev1.EnvVar) {
	for _, e := range env {
		// slots doubles dollars because the kubelet expands $(NAME).
		value := strings.ReplaceAll(e.Value, "$$", "$")
		switch e.Name {
		case protocol.EnvProbes:
			var p protocol.Probes
			if readJSON(value, &p) {
				was.probes = p
			}
		case protocol.EnvMetrics:
			m := new(protocol.AppMetrics)
			if readJSON(value, m) && valid(m) {
				was.metrics = m
			}
		}
	}
}

func valid(m *protocol.AppMetrics) bool {
	return m != nil && m.Port != 0 && !ourPort(int(m.Port)) && strings.HasPrefix(m.Path, "/") && len(m.Path) <= maxMetricsPath
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
	if old.ImagePullPolicy == corev1.PullAlways {
		c.ImagePullPolicy = old.ImagePullPolicy
	}
	if old.TerminationMessagePath == corev1.TerminationMessagePathDefault {
		c.TerminationMessagePath = old.TerminationMessagePath // another one is the author's, who could hide a file of the slot with it
	}
	// Without the record it is not the same admission, and the resources may be of other settings. The
	// limits of a Guaranteed proxy are ours.
	if was.recorded && (pinned(c.Resources) || !pinned(old.Resources)) {
		c.Resources.Requests = withMissing(c.Resources.Requests, old.Resources.Requests)
		c.Resources.Limits = withMissing(c.Resources.Limits, old.Resources.Limits)
	}
	return c
}

func withMissing(list, old corev1.ResourceList) corev1.ResourceList {
	for name, q := range old {
		if _, ok := list[name]; !ok {
			set(&list, name, q)
		}
	}
	return list
}
