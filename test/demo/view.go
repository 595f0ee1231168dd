// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// view makes lines of what a Mesh says of its upgrade, each once.
type view struct {
	to    string
	said  string // the live line
	phase v1alpha1.UpgradePhase
	gates int
}

// next are the lines that are new, and one that says how it stands.
func (v *view) next(m *v1alpha1.Mesh) (lines []string, live string) {
	u := m.Status.Upgrade
	if u == nil || u.To != v.to {
		ready := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil {
			return nil, "waiting for the operator"
		}
		return nil, "waiting: " + ready.Message
	}
	for ; v.gates < len(u.Gates); v.gates++ {
		g := u.Gates[v.gates]
		lines = append(lines, fmt.Sprintf("             wave %d: %s: %s", g.Wave, g.Result, g.Message))
	}
	if u.Phase != v.phase {
		v.phase = u.Phase
		lines = append(lines, fmt.Sprintf("%-12s %s", u.Phase, meaning(u)))
	}
	live = string(u.Phase)
	if u.Proxies > 0 {
		live += fmt.Sprintf(", wave %d of %d, %d of %d proxies", u.Wave, u.Waves, u.Replaced, u.Proxies)
	}
	if u.Message != "" {
		live += ": " + u.Message
	}
	return lines, live
}

// meaning says what a phase does.
func meaning(u *v1alpha1.UpgradeStatus) string {
	switch u.Phase {
	case v1alpha1.PhasePreflight:
		return "looks for anything in the way, and brings the images to the nodes"
	case v1alpha1.PhaseShadow:
		return "the control plane of " + u.To + " starts beside the old one and translates, without serving"
	case v1alpha1.PhaseControlPlane:
		return cmp.Or(u.Difference, "no difference is known") + "; new connections and pods go to the new one"
	case v1alpha1.PhaseDataPlane:
		return "proxies are replaced inside their pods, wave by wave; then the Gateway's"
	case v1alpha1.PhaseRollingBack:
		return "back to " + u.From + ": " + u.Message
	case v1alpha1.PhaseCompleted:
		return "the old control plane goes"
	case v1alpha1.PhaseRolledBack:
		return u.Message
	}
	return ""
}

// over tells whether the mesh runs what was asked for; an error: it will not by itself.
func (v *view) over(m *v1alpha1.Mesh) (bool, error) {
	s := m.Status
	if s.ObservedGeneration != m.Generation || m.Spec.Version != v.to {
		return false, nil
	}
	if u := s.Upgrade; u != nil && u.To == v.to && u.Phase == v1alpha1.PhaseRolledBack {
		return false, errors.New("it was rolled back: " + u.Message)
	}
	return s.Version == v.to && meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionUpgraded) &&
		meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionReady), nil
}

// noticed is what an application could have noticed of an upgrade.
type noticed struct{ pods, gone, restarts, transitions, behind int }

// compare looks at the same pods before and after.
func compare(before, after []corev1.Pod, version string) noticed {
	n := noticed{pods: len(before)}
	now := map[string]corev1.Pod{}
	for _, p := range after {
		now[p.Name] = p
	}
	for _, old := range before {
		p, ok := now[old.Name]
		if !ok || p.UID != old.UID {
			n.gone++
			continue
		}
		was := map[string]int32{}
		for _, c := range old.Status.ContainerStatuses {
			was[c.Name] = c.RestartCount
		}
		for _, c := range p.Status.ContainerStatuses {
			n.restarts += int(c.RestartCount - was[c.Name])
		}
		// A condition that went and came back has another time.
		if a, b := readiness(old), readiness(p); a.Status != b.Status || !a.LastTransitionTime.Equal(&b.LastTransitionTime) {
			n.transitions++
		}
		if p.Labels[names.LabelVersion] != version {
			n.behind++
		}
	}
	return n
}

func readiness(p corev1.Pod) corev1.PodCondition {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c
		}
	}
	return corev1.PodCondition{}
}

// concludeUpgrade prints what was measured and returns what was wrong.
func (d *demo) concludeUpgrade() error {
	r, u := d.upgraded, d.upgraded.mesh.Status.Upgrade
	n := compare(r.before, r.after, u.To)
	d.say.heading("What was measured")
	var wrong []error
	sent, failed, stall := 0, 0, 0.0
	for _, s := range r.streams {
		sum := s.last()
		sent, failed, stall = sent+sum.Sent, failed+sum.Failed, max(stall, sum.LongestStall)
		d.say.line("traffic %-36s %5d requests, %d failed, p50 %.1f ms, p99 %.1f ms, longest stall %.0f ms", s.name, sum.Sent, sum.Failed, sum.P50, sum.P99, sum.LongestStall)
		for reason, n := range sum.Failures {
			wrong = append(wrong, fmt.Errorf("%d requests %s failed: %s", n, s.name, reason))
		}
		if sum.OK == 0 {
			wrong = append(wrong, fmt.Errorf("no request %s succeeded", s.name))
		}
	}
	took := "-"
	if u.Finished != nil {
		took = u.Finished.Sub(u.Started.Time).Round(time.Second).String()
	}
	d.say.line("")
	d.say.line("from %s to %s: %d of %d proxies replaced in %d waves, and the Gateway's deployed anew, in %s", u.From, u.To, u.Replaced, u.Proxies, max(u.Waves-1, 0), took)
	d.say.line("requests failed                       %d of %d (longest stall %.0f ms)", failed, sent, stall)
	d.say.line("application containers restarted      %d in %d pods", n.restarts, n.pods)
	d.say.line("pods whose Ready condition changed    %d of %d", n.transitions, n.pods)
	d.say.line("pods that were replaced               %d of %d", n.gone, n.pods)
	for what, count := range map[string]int{
		"application containers were restarted": n.restarts, "pods changed their Ready condition": n.transitions,
		"pods are not there any more": n.gone, "pods do not carry a proxy of " + u.To: n.behind,
	} {
		if count > 0 {
			wrong = append(wrong, fmt.Errorf("%d %s", count, what))
		}
	}
	if n.pods == 0 || u.Replaced == 0 {
		wrong = append(wrong, errors.New("no proxy was replaced"))
	}
	d.say.heading("What to look at next")
	d.say.line("bin/tulle upgrade status                      phases, waves, and what the gates said")
	d.say.line("kubectl get tmesh tulle                       version, readiness, proxies up to date")
	d.say.line("kubectl get events --field-selector involvedObject.kind=Mesh")
	d.say.line("bin/tulle upgrade to %s --help             the way back is the same", u.From)
	d.say.line("docs/guides/upgrade.md                        waves, gates, windows, and what to do when it stops")
	return errors.Join(wrong...)
}
