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
func disruptions(pods []upgrade.Pod, budgets []policyv1.PodDisruptionBudget, deployments []appsv1.Deployment) []string {
	var out []string
	for _, p := range pods {
		if !p.Restarts() {
			continue
		}
		workload := fmt.Sprintf("%s %s/%s", p.Restart.Kind, p.Namespace, p.Restart.Name)
		way := "label its pods " + names.LabelUpgrade + "=" + names.UpgradeNever + " to leave it out"
		d := find(deployments, p)
		if d != nil && d.Spec.Paused {
			out = append(out, fmt.Sprintf("%s is paused, and must be restarted (%s): kubectl rollout resume it, or %s", workload, p.Obstacle, way))
			continue
		}
		if b := forbids(budgets, p); b != "" && goesFirst(p.Restart.Kind, d) {
			out = append(out, fmt.Sprintf("%s must be restarted (%s), and PodDisruptionBudget %s lets none of its pods go: allow one, or %s", workload, p.Obstacle, b, way))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func find(deployments []appsv1.Deployment, p upgrade.Pod) *appsv1.Deployment {
	i := slices.IndexFunc(deployments, func(d appsv1.Deployment) bool {
		return p.Restart.Kind == "Deployment" && d.Namespace == p.Namespace && d.Name == p.Restart.Name
	})
	if i < 0 {
		return nil
	}
	return &deployments[i]
}

// forbids is the name of a budget that never lets the pod go, however well its workload is; empty: none.
func forbids(budgets []policyv1.PodDisruptionBudget, p upgrade.Pod) string {
	for _, b := range budgets {
		s, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil || b.Namespace != p.Namespace || !s.Matches(labels.Set(p.Labels)) {
			continue
		}
		if letsNoneGo(&b) {
			return b.Namespace + "/" + b.Name
		}
	}
	return ""
}

// longestSelector is how many bytes the selector of a budget may have. A longer one is ignored: whoever may create
// pods may create budgets, of any size.
const longestSelector = 16 << 10

// Budget returns what of a budget is looked at; ok is false if it can be left out.
func Budget(b *policyv1.PodDisruptionBudget) (kept policyv1.PodDisruptionBudget, ok bool) {
	return policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: b.Spec.Selector},
		Status:     policyv1.PodDisruptionBudgetStatus{ExpectedPods: b.Status.ExpectedPods, DesiredHealthy: b.Status.DesiredHealthy},
	}, b.Spec.Selector.Size() <= longestSelector && letsNoneGo(b)
}

// letsNoneGo tells whether a budget never lets a pod go, as the disruption controller has worked it out from
// percentages and replicas.
func letsNoneGo(b *policyv1.PodDisruptionBudget) bool {
	return b.Status.ExpectedPods > 0 && b.Status.DesiredHealthy >= b.Status.ExpectedPods
}

// Strategy returns what of a Deployment is looked at. Nearly all of its size is in its pod template.
func Strategy(d *appsv1.Deployment) appsv1.Deployment {
	return appsv1.Deployment{
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
