// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package preflight

import (
	"strconv"
	"strings"
	"testing"

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
			g := Ground{Budgets: []policyv1.PodDisruptionBudget{c.budget}, Deployments: []appsv1.Deployment{c.d}}
			twin := c.pod
			twin.Name = "db-1"
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
	one(t, Obstacles(Ground{Budgets: []policyv1.PodDisruptionBudget{strangers}}, to(), []upgrade.Pod{restarted("StatefulSet")}, nil))
}

// TestForgedPods: a tenant's pod with the labels of one that has a proxy, and no proxy, holds up no upgrade by a budget
// that lets none go.
func TestForgedPods(t *testing.T) {
	yes := true
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "db-0", Labels: map[string]string{"app": "db", names.LabelProxy: names.KindSidecar, names.LabelVersion: "0.2.0"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", Controller: &yes}},
	}}
	g := Ground{Budgets: []policyv1.PodDisruptionBudget{budget(3, 3)}}
	one(t, Obstacles(g, to(), []upgrade.Pod{upgrade.PodFrom(p, "", "")}, nil))
	p.Spec.InitContainers = []corev1.Container{{Name: names.ContainerSlotA, Image: "p:1"}}
	one(t, Obstacles(g, to(), []upgrade.Pod{upgrade.PodFrom(p, "", "")}, nil), "shop/db", "shop/keep")
}

// TestLargeObjects: what is kept of a tenant's budgets and Deployments is small.
func TestLargeObjects(t *testing.T) {
	b := budget(3, 3)
	b.Annotations = map[string]string{"x": strings.Repeat("x", 1<<18)}
	if kept, ok := Budget(&b); !ok || kept.Size() > 500 || forbids([]policyv1.PodDisruptionBudget{kept}, restarted("StatefulSet")) == "" {
		t.Errorf("%v, %d bytes", ok, kept.Size())
	}
	for i := range 1000 {
		b.Spec.Selector.MatchLabels[strconv.Itoa(i)] = strings.Repeat("x", 60)
	}
	if _, ok := Budget(&b); ok {
		t.Error("a selector of 60 KB is kept")
	}
	b = budget(3, 2)
	if _, ok := Budget(&b); ok {
		t.Error("a budget that lets one go is kept")
	}
	d := deployment(3, nil)
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: strings.Repeat("x", 1<<20)}}
	if kept := Strategy(&d); kept.Size() > 500 {
		t.Errorf("%d bytes of a Deployment", kept.Size())
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
