// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package preflight

import (
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

func to() release.Release {
	r, _ := release.Known("tulle", "tulle-proxy").Find(release.Current)
	return r
}

// one is the only obstacle, which must say all of the words; none of them: there must be no obstacle.
func one(t *testing.T, got []string, words ...string) {
	t.Helper()
	if len(words) == 0 {
		if len(got) > 0 {
			t.Errorf("in the way: %v", got)
		}
		return
	}
	if len(got) != 1 {
		t.Errorf("want one obstacle that says %q: %v", words, got)
		return
	}
	for _, w := range words {
		if !strings.Contains(got[0], w) {
			t.Errorf("%q is not in %q", w, got[0])
		}
	}
}

// TestVersions: a Kubernetes that is too old is told, and one that can't be told from its version is not in the way.
func TestVersions(t *testing.T) {
	for have, words := range map[string][]string{
		"v1.36.3":                nil,
		"v1.29.0":                nil,
		"v1.29.0-alpha.1+vendor": nil, // a distribution's name for what it sells as 1.29
		"":                       nil,
		"unknown":                nil,
		"v1.28.15-gke.100":       {"v1.28.15-gke.100", "1.29", "upgrade the cluster"},
	} {
		one(t, Obstacles(Ground{Kubernetes: have}, to(), nil, nil), words...)
	}
}

// TestKinds: every release needs some, and those that are not served are named with their version.
func TestKinds(t *testing.T) {
	if r := to(); len(r.Kinds) < 8 || r.Kubernetes == "" {
		t.Fatalf("%+v", r)
	}
	one(t, Obstacles(Ground{Unserved: to().Kinds[2:4]}, to(), nil, nil), "httproutes.gateway.networking.k8s.io v1", "grpcroutes", release.Current)
}

// restarted is a pod whose proxy can be replaced only by a restart of its workload.
func restarted(kind string) upgrade.Pod {
	return upgrade.Pod{
		Namespace: "shop", Name: "db-0", Kind: names.KindSidecar, Labels: map[string]string{"app": "db"}, Ready: true,
		Obstacle: "it has no second slot", Restart: upgrade.Restart{Kind: kind, Name: "db"},
	}
}

func budget(expected, desired int32) policyv1.PodDisruptionBudget {
	return policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "keep"},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}},
		Status:     policyv1.PodDisruptionBudgetStatus{ExpectedPods: expected, DesiredHealthy: desired},
	}
}

func deployment(replicas int32, change func(*appsv1.DeploymentSpec)) appsv1.Deployment {
	d := appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"}}
	d.Spec.Replicas = &replicas
	if change != nil {
		change(&d.Spec)
	}
	return d
}

func rolling(unavailable, surge intstr.IntOrString) func(*appsv1.DeploymentSpec) {
	return func(s *appsv1.DeploymentSpec) {
		s.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxUnavailable: &unavailable, MaxSurge: &surge}
	}
}

// upon is what is kept of a Deployment and budgets.
func upon(pods []upgrade.Pod, d appsv1.Deployment, budgets ...policyv1.PodDisruptionBudget) Ground {
	var g Ground
	for _, list := range Restarted(pods) {
		for i := range budgets {
			g.Budget(&budgets[i], list)
		}
		g.Deployment(&d, list)
	}
	return g
}

// TestDisruptions: a restart that takes pods away first is not begun where a budget lets none go.
func TestDisruptions(t *testing.T) {
	forbidden := []string{"shop/db", "it has no second slot", "PodDisruptionBudget shop/keep", "tulle.dev/upgrade=never"}
	number, percent := intstr.FromInt32, intstr.FromString
	for name, c := range map[string]struct {
		pod    upgrade.Pod
		budget policyv1.PodDisruptionBudget
		d      appsv1.Deployment
		words  []string
	}{
		"a StatefulSet":                         {restarted("StatefulSet"), budget(3, 3), appsv1.Deployment{}, forbidden},
		"a DaemonSet":                           {restarted("DaemonSet"), budget(3, 4), appsv1.Deployment{}, forbidden},
		"one may go":                            {restarted("StatefulSet"), budget(3, 2), appsv1.Deployment{}, nil},
		"a budget that was not worked out yet":  {restarted("StatefulSet"), budget(0, 0), appsv1.Deployment{}, nil},
		"a Deployment that puts one more first": {restarted("Deployment"), budget(3, 3), deployment(3, nil), nil},
		"a quarter of four is one":              {restarted("Deployment"), budget(4, 4), deployment(4, nil), forbidden},
		"none less, one more":                   {restarted("Deployment"), budget(9, 9), deployment(9, rolling(number(0), number(1))), nil},
		"half of nine less":                     {restarted("Deployment"), budget(9, 9), deployment(9, rolling(percent("50%"), percent("50%"))), forbidden},
		"neither less nor more":                 {restarted("Deployment"), budget(1, 1), deployment(1, rolling(percent("0%"), number(0))), forbidden},
		"Recreate": {restarted("Deployment"), budget(1, 1), deployment(1, func(s *appsv1.DeploymentSpec) {
			s.Strategy.Type = appsv1.RecreateDeploymentStrategyType
		}), forbidden},
		"paused": {restarted("Deployment"), budget(3, 1), deployment(3, func(s *appsv1.DeploymentSpec) { s.Paused = true }), []string{"paused", "kubectl rollout resume"}},
	} {
		t.Run(name, func(t *testing.T) {
			twin := c.pod
			twin.Name = "db-1"
			g := upon([]upgrade.Pod{c.pod, twin}, c.d, c.budget)
			one(t, Obstacles(g, to(), []upgrade.Pod{c.pod, twin}, nil), c.words...)
			// In place nobody is disrupted, and who is left out is not restarted.
			for _, change := range []func(*upgrade.Pod){
				func(p *upgrade.Pod) { p.Obstacle = "" },
				func(p *upgrade.Pod) { p.Order = names.UpgradeNever },
				func(p *upgrade.Pod) { p.Restart = upgrade.Restart{} },
			} {
				p := c.pod
				change(&p)
				one(t, Obstacles(g, to(), []upgrade.Pod{p}, nil))
			}
			other := c.pod
			other.Namespace = "elsewhere"
			one(t, Obstacles(g, to(), []upgrade.Pod{other}, nil))
		})
	}
	strangers := budget(3, 3)
	strangers.Spec.Selector.MatchLabels["app"] = "web"
	pods := []upgrade.Pod{restarted("StatefulSet")}
	one(t, Obstacles(upon(pods, appsv1.Deployment{}, strangers), to(), pods, nil))
	strangers = budget(3, 3)
	strangers.Namespace = "elsewhere"
	one(t, Obstacles(upon(pods, appsv1.Deployment{}, strangers), to(), pods, nil))
}

// TestForgedPods: a tenant's pod with the labels of one that has a proxy, and no proxy, holds up no upgrade by a budget
// that lets none go.
func TestForgedPods(t *testing.T) {
	yes := true
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "db-0", Labels: map[string]string{"app": "db", names.LabelProxy: names.KindSidecar, names.LabelVersion: "0.2.0"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", Controller: &yes}},
	}}
	obstacles := func() []string {
		pods := []upgrade.Pod{upgrade.PodFrom(p, "", "")}
		return Obstacles(upon(pods, appsv1.Deployment{}, budget(3, 3)), to(), pods, nil)
	}
	one(t, obstacles())
	p.Spec.InitContainers = []corev1.Container{{Name: names.ContainerSlotA, Image: "p:1"}}
	one(t, obstacles(), "shop/db", "shop/keep")
	for i := range 100 { // which budgets select it is not known
		p.Labels[strconv.Itoa(i)] = ""
	}
	one(t, obstacles(), "shop/db", "shop/keep", "too many labels")
}

// large is a budget that never lets a pod go, with a selector of many values.
func large(name string) policyv1.PodDisruptionBudget {
	b := budget(3, 3)
	b.Name = name
	b.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: append(make([]string, 8000), "x")},
	}}
	return b
}

// TestLargeObjects: of a tenant's budgets and Deployments only what is decided is kept, and a budget whose selector is too
// large to be read allows no restart.
func TestLargeObjects(t *testing.T) {
	pods := []upgrade.Pod{restarted("Deployment")}
	list := Restarted(pods)["shop"]
	var g Ground
	for i := range 200 {
		b := large(strconv.Itoa(i))
		g.Budget(&b, list)
		d := deployment(4, nil)
		d.Name = strconv.Itoa(i)
		g.Deployment(&d, list)
	}
	d := deployment(4, nil)
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: strings.Repeat("x", 1<<20)}}
	g.Deployment(&d, list)
	one(t, Obstacles(g, to(), pods, nil), "Deployment shop/db", "shop/0 (its selector has more than 50 keys and values")
	for _, kept := range g.Deployments {
		if kept.Size() > 500 {
			t.Errorf("%d bytes of a Deployment", kept.Size())
		}
	}
	if len(g.Forbidden) != 1 || len(g.Deployments) != 1 {
		t.Errorf("kept: %v, %d Deployments", g.Forbidden, len(g.Deployments))
	}
}

// TestCostOfBudgets: the largest selectors that are read cost little for many pods, and the larger ones nothing. Two
// hundred of each and 300 pods took minutes.
func TestCostOfBudgets(t *testing.T) {
	var pods []upgrade.Pod
	for i := range 300 {
		p := restarted("StatefulSet")
		p.Restart.Name = strconv.Itoa(i)
		pods = append(pods, p)
		p.Namespace = "elsewhere"
		pods = append(pods, p)
	}
	by := Restarted(pods)
	start := time.Now()
	var g Ground
	for i := range 200 {
		b := large(strconv.Itoa(i))
		b.Spec.Selector.MatchExpressions[0].Values = make([]string, mostRequirements-1)
		g.Budget(&b, by["shop"])
	}
	if len(g.Forbidden) > 0 {
		t.Error(g.Forbidden)
	}
	for i := range 200 {
		b := large(strconv.Itoa(i))
		g.Budget(&b, by["shop"])
	}
	if len(g.Forbidden) != 300 {
		t.Errorf("%d workloads", len(g.Forbidden))
	}
	for range 10 {
		Obstacles(g, to(), pods, nil)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func controlPlane() []*unstructured.Unstructured {
	container := map[string]any{"name": "c", "resources": map[string]any{"requests": map[string]any{"cpu": "200m", "memory": "128Mi"}, "limits": map[string]any{"memory": "256Mi"}}}
	return []*unstructured.Unstructured{
		{Object: map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{"namespace": "tulle-system", "name": "x"}}},
		{Object: map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": "x"}}},
		{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"namespace": "tulle-system", "name": "x"},
			"spec": map[string]any{"replicas": int64(2), "template": map[string]any{"spec": map[string]any{"containers": []any{container}}}},
		}},
	}
}

// TestQuota: what a second control plane needs is compared with what each quota has left.
func TestQuota(t *testing.T) {
	for name, c := range map[string]struct {
		hard, used, what string
		words            []string
	}{
		"exactly enough pods":     {"4", "2", "pods", nil},
		"one pod too many":        {"4", "3", "pods", []string{"tulle-system/q", "2 of pods, where 1 is left", "raise it"}},
		"pods, counted":           {"3", "3", "count/pods", []string{"2 of count/pods, where 0 is left"}},
		"CPU":                     {"1", "700m", "requests.cpu", []string{"400m of requests.cpu, where 300m is left"}},
		"CPU by its short name":   {"1", "700m", "cpu", []string{"400m of cpu"}},
		"memory":                  {"1Gi", "768Mi", "requests.memory", nil},
		"limits":                  {"1Gi", "768Mi", "limits.memory", []string{"512Mi of limits.memory, where 256Mi is left"}},
		"Deployments":             {"1", "1", "count/deployments.apps", []string{"1 of count/deployments.apps"}},
		"ReplicaSets":             {"1", "1", "count/replicasets.apps", []string{"count/replicasets.apps"}},
		"nothing it counts":       {"1", "1", "persistentvolumeclaims", nil},
		"nothing in a namespace":  {"0", "0", "count/clusterroles.rbac.authorization.k8s.io", nil},
		"used beyond what it may": {"1", "5", "pods", []string{"where -4 is left"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "tulle-system", Name: "q"}, Status: corev1.ResourceQuotaStatus{
				Hard: corev1.ResourceList{corev1.ResourceName(c.what): resource.MustParse(c.hard)},
				Used: corev1.ResourceList{corev1.ResourceName(c.what): resource.MustParse(c.used)},
			}}
			one(t, Obstacles(Ground{Quotas: []corev1.ResourceQuota{q}}, to(), nil, controlPlane()), c.words...)
			one(t, Obstacles(Ground{Quotas: []corev1.ResourceQuota{q}}, to(), nil, nil)) // it is there already
			q.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
			one(t, Obstacles(Ground{Quotas: []corev1.ResourceQuota{q}}, to(), nil, controlPlane()))
		})
	}
}
