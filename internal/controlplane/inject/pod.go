// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/slots"
)

// Result is what became of a pod that was let through.
type Result struct {
	// Pod is the injected pod, or nil if the pod stays as it is.
	Pod *corev1.Pod
	// Removed: Pod is not injected. It lost what an earlier injection wrote.
	Removed bool
	// Warnings are for whoever creates the pod; each is one short sentence.
	Warnings []string
}

// Refusal is why a pod may not start: what is wrong with it, in a stable order. Of many problems not all are named.
type Refusal struct {
	Problems []string
}

// maxProblems is how many problems a message names.
const maxProblems = 20

// Message is one text for the API server's answer.
func (r *Refusal) Message() string {
	named, more := r.Problems, ""
	if len(named) > maxProblems {
		named, more = named[:maxProblems], "; and more"
	}
	return "Tulle cannot inject this pod: " + strings.Join(named, "; ") + more
}

// Pod decides whether a pod gets a proxy and puts it in. The argument is not changed. The init
// containers come out as tulle-init, slot a, slot b, then the pod's own in their order: what runs
// after a slot has a working network. A refusal excludes a result.
func Pod(pod *corev1.Pod, ns NamespaceFacts, s Settings) (Result, *Refusal) {
	d := decide(pod, ns, s)
	left := !d.inject && d.problem == "" && leftOver(pod)
	if d.inject || left {
		d.problem = tooMuch(pod)
	}
	switch {
	case d.problem != "":
		return Result{}, &Refusal{Problems: []string{d.problem}}
	case !d.inject:
		var r Result
		if left {
			r.Pod, r.Warnings = remove(pod)
			r.Removed = true
		}
		if d.warning != "" {
			r.Warnings = append(r.Warnings, d.warning)
		}
		return r, nil
	}
	was := earlier(pod)
	out := pod.DeepCopy()
	lost := restore(out, was)
	a, problems := ParseAnnotations(out.Annotations, s.Annotations)
	resources, more := proxyResources(s.Resources, a)
	problems = append(problems, more...)
	problems = append(problems, check(out, ns)...)
	if len(problems) > 0 {
		return Result{}, &Refusal{Problems: problems}
	}

	bypasses := bypassesOf(out, names.TokenAudience(s.TrustDomain))
	if guaranteed(out) {
		resources = pin(resources, a)
	}
	token := cmp.Or(was.token, s.ProbeToken)
	moved, warnings := moveProbes(out, token)
	if len(moved) > 0 && !protocol.ValidProbeToken(token) {
		return Result{}, &Refusal{Problems: []string{"there is no random token for the paths of its probes; this is a bug in Tulle, report it"}}
	}
	if problem := tooLong(moved); problem != "" {
		return Result{}, &Refusal{Problems: []string{problem}}
	}
	warnings = append(lost, warnings...)
	scrape, warning := moveMetrics(out, was.metrics)
	if warning != "" {
		warnings = append(warnings, warning)
	}
	spec := slots.Spec{
		Image: s.Image, Kind: names.KindSidecar, TrustDomain: s.TrustDomain, ControlPlaneHost: s.ControlPlaneHost,
		Probes: moved, AppMetrics: scrape, Resources: resources, Single: s.SingleSlot, Resizable: s.Resizable,
		ExcludeInboundPorts: a.ExcludeInboundPorts, ExcludeOutboundPorts: a.ExcludeOutboundPorts, ExcludeOutboundIPs: a.ExcludeOutboundIPs,
	}
	record := protocol.Injected{
		Version: s.Version, Revision: s.Revision, ExcludedInboundPorts: a.ExcludeInboundPorts, Warnings: bypasses,
		AppMetrics: scrape,
	}
	linger(out, s.LingerSeconds)
	ours := slots.InitContainers(spec)
	for i := range ours {
		ours[i] = was.keep(ours[i])
		ns.Bounds.fit(&ours[i])
	}
	if pod.Spec.Resources == nil {
		if problems := append(ns.Bounds.uncounted(ours), ns.Bounds.exceeded(out.Spec, ours)...); len(problems) > 0 {
			return Result{}, &Refusal{Problems: problems}
		}
	}
	record.AddedToPod = fitPodResources(out, ours)
	out.Spec.InitContainers = append(ours, out.Spec.InitContainers...)
	putVolumes(out, slots.Volumes(spec))
	mark(out, s, record)
	return Result{Pod: out, Warnings: append(bypasses, warnings...)}, nil
}

// putVolumes adds our volumes, where those of an earlier injection are if there are any.
func putVolumes(pod *corev1.Pod, ours []corev1.Volume) {
	isOurs := func(v corev1.Volume) bool { return ourVolume(v.Name) }
	at := slices.IndexFunc(pod.Spec.Volumes, isOurs)
	rest := slices.DeleteFunc(pod.Spec.Volumes, isOurs)
	if at < 0 {
		at = len(rest)
	}
	pod.Spec.Volumes = slices.Insert(rest, at, ours...)
}

// mark labels the pod as injected and records what was done.
func mark(pod *corev1.Pod, s Settings, r protocol.Injected) {
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[names.LabelProxy] = names.KindSidecar
	pod.Labels[names.LabelRevision] = s.Revision
	pod.Labels[names.LabelVersion] = s.Version
	record, err := json.Marshal(r)
	if err != nil {
		// Strings and numbers always encode.
		panic("inject: " + err.Error())
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[names.AnnotationInjected] = string(record)
}
