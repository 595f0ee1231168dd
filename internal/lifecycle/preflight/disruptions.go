// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package preflight

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

// disruptions are restarts of workloads that would not end, or that somebody has forbidden. Pods whose
// proxies are replaced in place are not disrupted, so that no budget matters for them. Kubernetes holds
// only evictions to budgets, not the restart of a workload; so it is asked for here, before it begins,
// whether that would break one. See https://kubernetes.io/docs/concepts/workloads/pods/disruptions/.
func disruptions(pods []upgrade.Pod, g Ground) []string {
	var out []string
	for i := range pods {
		p := &pods[i]
		if !p.Restarts() {
			continue
		}
		workload := fmt.Sprintf("%s %s/%s", p.Restart.Kind, p.Namespace, p.Restart.Name)
		way := "label its pods " + names.LabelUpgrade + "=" + names.UpgradeNever + " to leave it out"
		d := g.Deployments[workloadOf(p)]
		if d != nil && d.Spec.Paused {
			out = append(out, fmt.Sprintf("%s is paused, and must be restarted (%s): kubectl rollout resume it, or %s", workload, p.Obstacle, way))
			continue
		}
		if b := g.Forbidden[workloadOf(p)]; b != "" && goesFirst(p.Restart.Kind, d) {
			out = append(out, fmt.Sprintf("%s must be restarted (%s), and PodDisruptionBudget %s lets none of its pods go: allow one, or %s", workload, p.Obstacle, b, way))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Workload is a workload of a namespace that is restarted.
type Workload struct {
	Namespace string
	upgrade.Restart
}

func workloadOf(p *upgrade.Pod) Workload { return Workload{p.Namespace, p.Restart} }

// Restarted returns the pods whose proxies are replaced by restarting their workloads, by namespace.
func Restarted(pods []upgrade.Pod) map[string][]*upgrade.Pod {
	out := map[string][]*upgrade.Pod{}
	for i := range pods {
		if p := &pods[i]; p.Restarts() {
			out[p.Namespace] = append(out[p.Namespace], p)
		}
	}
	return out
}

// mostRequirements is how many keys and values the selector of a budget may have. One with more is not read: whoever
// may create pods may create budgets, and their selectors have no limit. It is considered to select all pods of its
// namespace, so that no restart is begun that it forbids; only the namespace's own workloads wait for it.
const mostRequirements = 50

// Budget takes in a budget of the namespace of these restarted pods. Nothing of it is kept but its name, if it never
// lets a pod of a workload go, however well the workload is, and no other budget forbids the restart already.
func (g *Ground) Budget(b *policyv1.PodDisruptionBudget, restarted []*upgrade.Pod) {
	if !letsNoneGo(b) {
		return
	}
	name := b.Namespace + "/" + b.Name
	selects := labels.Everything()
	if requirements(b.Spec.Selector) > mostRequirements {
		name += fmt.Sprintf(" (its selector has more than %d keys and values, and is considered to select all pods)", mostRequirements)
	} else {
		var err error
		if selects, err = metav1.LabelSelectorAsSelector(b.Spec.Selector); err != nil {
			return // it selects no pods
		}
	}
	for _, p := range restarted {
		w := workloadOf(p)
		if g.Forbidden[w] != "" || p.Namespace != b.Namespace {
			continue
		}
		switch {
		case p.LabelsCut():
			name := name + " (its pods have too many labels, and any budget is considered to select them)"
			g.forbid(w, name)
		case selects.Matches(labels.Set(p.Labels)):
			g.forbid(w, name)
		}
	}
}

func (g *Ground) forbid(w Workload, budget string) {
	if g.Forbidden == nil {
		g.Forbidden = map[Workload]string{}
	}
	g.Forbidden[w] = budget
}

// requirements is how many keys and values a selector has.
func requirements(s *metav1.LabelSelector) int {
	if s == nil {
		return 0
	}
	n := len(s.MatchLabels) + len(s.MatchExpressions)
	for _, e := range s.MatchExpressions {
		n += len(e.Values)
	}
	return n
}

// letsNoneGo tells whether a budget never lets a pod go, as the disruption controller has worked it out from
// percentages and replicas.
func letsNoneGo(b *policyv1.PodDisruptionBudget) bool {
	return b.Status.ExpectedPods > 0 && b.Status.DesiredHealthy >= b.Status.ExpectedPods
}

// Deployment takes in a Deployment of the namespace of these restarted pods, if it is the workload of one. Nearly all of
// its size is in its pod template, which is not kept.
func (g *Ground) Deployment(d *appsv1.Deployment, restarted []*upgrade.Pod) {
	w := Workload{d.Namespace, upgrade.Restart{Kind: "Deployment", Name: d.Name}}
	if !slices.ContainsFunc(restarted, func(p *upgrade.Pod) bool { return workloadOf(p) == w }) {
		return
	}
	if g.Deployments == nil {
		g.Deployments = map[Workload]*appsv1.Deployment{}
	}
	g.Deployments[w] = &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: d.Name},
		Spec:       appsv1.DeploymentSpec{Paused: d.Spec.Paused, Strategy: d.Spec.Strategy, Replicas: d.Spec.Replicas},
	}
}

// goesFirst tells whether a restart takes a pod away before its successor is Ready. A StatefulSet
// always does, and a DaemonSet by default; of a Deployment that can't be read it is not known.
func goesFirst(kind string, d *appsv1.Deployment) bool {
	if d == nil {
		return kind != "Deployment"
	}
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return true
	}
	replicas := 1
	if d.Spec.Replicas != nil {
		replicas = int(*d.Spec.Replicas)
	}
	quarter := intstr.FromString("25%")
	unavailable, surge := &quarter, &quarter
	if r := d.Spec.Strategy.RollingUpdate; r != nil {
		unavailable, surge = intstr.ValueOrDefault(r.MaxUnavailable, quarter), intstr.ValueOrDefault(r.MaxSurge, quarter)
	}
	// As the Deployment controller rounds; with neither it takes one away.
	less, err := intstr.GetScaledValueFromIntOrPercent(unavailable, replicas, false)
	more, wrong := intstr.GetScaledValueFromIntOrPercent(surge, replicas, true)
	return err == nil && wrong == nil && (less > 0 || more == 0)
}
