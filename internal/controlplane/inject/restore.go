// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// restore removes from the pod what an earlier injection wrote, so that injection begins with the pod
// that its author wrote. Volumes stay until putVolumes replaces them. It returns a warning for each
// probe that was lost.
func restore(pod *corev1.Pod, was injection) []string {
	pod.Spec.InitContainers = slices.DeleteFunc(pod.Spec.InitContainers, was.wrote)
	for _, key := range notForPods() {
		delete(pod.Annotations, key)
	}
	restoreResources(pod, was)
	restoreLinger(pod, was)
	var warnings []string
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			warnings = append(warnings, restoreProbes(&list[i], was.probes)...)
		}
	}
	return warnings
}

// leftOver tells whether a pod that is not to be injected has the proxy of another pod in it, as a copy has.
// Without the label it would wait for ever, for a certificate; with it, it would be meshed where nobody asked for
// that, with an image that may no longer exist.
func leftOver(pod *corev1.Pod) bool {
	return !claimsGateway(pod) && len(earlier(pod).init) > 0
}

// remove returns the pod without all that an earlier injection wrote.
func remove(pod *corev1.Pod) (*corev1.Pod, []string) {
	out, was := pod.DeepCopy(), earlier(pod)
	warnings := restore(out, was)
	out.Spec.Volumes = slices.DeleteFunc(out.Spec.Volumes, func(v corev1.Volume) bool { return ourVolume(v.Name) })
	for _, key := range []string{names.LabelProxy, names.LabelRevision, names.LabelVersion} {
		delete(out.Labels, key)
	}
	if out.Annotations[scrapePortAnnotation] == fmt.Sprint(names.PortAgent) {
		delete(out.Annotations, scrapePortAnnotation)
		if was.metrics != nil {
			out.Annotations[scrapePortAnnotation] = fmt.Sprint(was.metrics.Port)
			out.Annotations[scrapePathAnnotation] = was.metrics.Path
		}
	}
	return out, append(warnings, "the pod has a proxy of an earlier injection and does not ask for one: the proxy is removed; "+
		"label the pod or its namespace "+names.LabelInject+": "+names.InjectEnabled+" to have one")
}

// restoreResources takes back what injection added to the resources of the pod as a whole.
func restoreResources(pod *corev1.Pod, was injection) {
	if pod.Spec.Resources == nil {
		return
	}
	for _, list := range []corev1.ResourceList{pod.Spec.Resources.Requests, pod.Spec.Resources.Limits} {
		for name, q := range list {
			// What would leave nothing was not added.
			if more := was.added[name]; !more.IsZero() && q.Cmp(more) > 0 {
				q.Sub(more)
				list[name] = q
			}
		}
	}
}

// restoreLinger removes a preStop sleep that injection added while the pod had a longer grace period: the
// API server would refuse the pod for it. Another one may be the author's own, and stays.
func restoreLinger(pod *corev1.Pod, was injection) {
	if len(was.init) == 0 && !was.recorded {
		return
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Sleep == nil {
			continue
		}
		if seconds := c.Lifecycle.PreStop.Sleep.Seconds; seconds <= lingerSeconds && seconds > grace(pod) {
			c.Lifecycle.PreStop = nil
			if c.Lifecycle.PostStart == nil && c.Lifecycle.StopSignal == nil {
				c.Lifecycle = nil
			}
		}
	}
}

// restoreProbes puts the probes and hooks of a container back that an earlier injection moved to the
// agent. The original is in a header of the probe; releases before 0.3 have it in the slots'
// environment alone. One whose original is known nowhere is removed: it would fail for ever.
func restoreProbes(c *corev1.Container, recorded protocol.Probes) []string {
	var warnings []string
	for _, a := range aims(c) {
		if !a.moved() {
			continue
		}
		original, ok := a.original()
		if !ok {
			original, ok = unrecord(recorded[a.http.Path])
		}
		if ok && a.accepts(original) {
			a.put(original)
			continue
		}
		a.remove()
		warnings = append(warnings, fmt.Sprintf("%s of container %s was moved to the proxy of another pod, and the original is not known: "+
			"it is removed; write it again where the pod is defined", a.kind, c.Name))
	}
	return warnings
}

// moved tells whether an earlier injection has moved the aim, perhaps for a container of another name.
func (a aim) moved() bool {
	return a.http != nil && (a.http.Port == intstr.FromInt32(names.PortAgent) || a.http.Port == intstr.FromString(fmt.Sprint(names.PortAgent))) &&
		strings.HasPrefix(a.http.Path, protocol.ProbePrefix) && strings.HasSuffix(a.http.Path, "/"+a.kind)
}

// original is what the moved aim says that it was.
func (a aim) original() (corev1.ProbeHandler, bool) {
	for _, header := range a.http.HTTPHeaders {
		if header.Name != protocol.ProbeHeader {
			continue
		}
		var h corev1.ProbeHandler
		if readJSON(header.Value, &h) && handlers(h) == 1 && (h.HTTPGet == nil || len(h.HTTPGet.HTTPHeaders) <= maxProbeHeaders) {
			return h, true
		}
	}
	return corev1.ProbeHandler{}, false
}

// maxProbeHeaders is how many headers a probe may have that is moved: each record of it has them all.
const maxProbeHeaders = 64

// maxRecorded is the length of all texts of a recorded probe, in bytes: any number of probes may refer to one.
const maxRecorded = 2 << 10

// usable tells whether a recorded probe is one that could be moved.
func usable(p protocol.Probe) bool {
	n, kinds := 0, 0
	if h := p.HTTP; h != nil {
		kinds++
		n += len(h.Path) + len(h.Scheme)
		for _, kv := range h.Headers {
			n += len(kv[0]) + len(kv[1])
		}
		if len(h.Headers) > maxProbeHeaders {
			return false
		}
	}
	if p.TCP != nil {
		kinds++
	}
	if p.GRPC != nil {
		kinds++
		n += len(p.GRPC.Service)
	}
	return kinds == 1 && n <= maxRecorded
}

// handlers is how many kinds of request a probe asks for; the API server allows one.
func handlers(h corev1.ProbeHandler) int {
	n := 0
	for _, set := range []bool{h.HTTPGet != nil, h.TCPSocket != nil, h.GRPC != nil, h.Exec != nil} {
		if set {
			n++
		}
	}
	return n
}

// unrecord is the handler that a record of an earlier release was made of.
func unrecord(p protocol.Probe) (corev1.ProbeHandler, bool) {
	switch {
	case !usable(p):
	case p.HTTP != nil:
		get := &corev1.HTTPGetAction{Path: p.HTTP.Path, Port: intstr.FromInt32(int32(p.HTTP.Port)), Scheme: corev1.URISchemeHTTP}
		if p.HTTP.Scheme != "" {
			get.Scheme = corev1.URIScheme(p.HTTP.Scheme)
		}
		for _, h := range p.HTTP.Headers {
			get.HTTPHeaders = append(get.HTTPHeaders, corev1.HTTPHeader{Name: h[0], Value: h[1]})
		}
		return corev1.ProbeHandler{HTTPGet: get}, true
	case p.TCP != nil:
		return corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(int32(p.TCP.Port))}}, true
	case p.GRPC != nil:
		service := p.GRPC.Service
		return corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: int32(p.GRPC.Port), Service: &service}}, true
	}
	return corev1.ProbeHandler{}, false
}
