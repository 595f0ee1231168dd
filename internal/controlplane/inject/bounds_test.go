// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/names"
)

// amounts reads "cpu memory"; "-" is none.
func amounts(s string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i, v := range strings.Fields(s) {
		if v != "-" {
			out[[]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}[i]] = resource.MustParse(v)
		}
	}
	return out
}

// TestFit: what a container asks for ends up within a LimitRange, and nothing moves without need.
func TestFit(t *testing.T) {
	for name, c := range map[string]struct {
		item                   corev1.LimitRangeItem
		requests, limits       string
		wantRequest, wantLimit string
	}{
		"nothing is asked":          {corev1.LimitRangeItem{}, "5m 16Mi", "- 1Gi", "5m 16Mi", "- 1Gi"},
		"well within":               {corev1.LimitRangeItem{Min: amounts("1m 4Mi"), Max: amounts("2 2Gi"), Default: amounts("1 -")}, "5m 16Mi", "- 1Gi", "5m 16Mi", "1 1Gi"},
		"a minimum":                 {corev1.LimitRangeItem{Min: amounts("10m 32Mi")}, "5m 16Mi", "- 1Gi", "10m 32Mi", "- 1Gi"},
		"a maximum":                 {corev1.LimitRangeItem{Max: amounts("- 512Mi")}, "5m 16Mi", "- 1Gi", "5m 16Mi", "- 512Mi"},
		"a maximum is a default":    {corev1.LimitRangeItem{Max: amounts("500m -")}, "5m 16Mi", "- 1Gi", "5m 16Mi", "500m 1Gi"},
		"less than is asked":        {corev1.LimitRangeItem{Max: amounts("20m 64Mi")}, "45m 80Mi", "- 1Gi", "20m 64Mi", "20m 64Mi"},
		"a default below a request": {corev1.LimitRangeItem{Default: amounts("40m -")}, "45m 80Mi", "- 1Gi", "40m 80Mi", "40m 1Gi"},
		"a ratio":                   {corev1.LimitRangeItem{MaxLimitRequestRatio: amounts("- 10")}, "5m 16Mi", "- 1Gi", "5m 107374183", "- 1Gi"},
		"a ratio of a default":      {corev1.LimitRangeItem{Default: amounts("100m -"), MaxLimitRequestRatio: amounts("3 -")}, "5m 16Mi", "- 1Gi", "34m 16Mi", "100m 1Gi"},
		"a fractional ratio":        {corev1.LimitRangeItem{MaxLimitRequestRatio: amounts("1500m -")}, "5m 16Mi", "300m 1Gi", "200m 16Mi", "300m 1Gi"},
		"no request, no default":    {corev1.LimitRangeItem{Default: amounts("1 -"), Max: amounts("2 -")}, "- 16Mi", "- 1Gi", "- 16Mi", "- 1Gi"},
		"a default request":         {corev1.LimitRangeItem{Default: amounts("1 -"), DefaultRequest: amounts("20m -")}, "- 16Mi", "- 1Gi", "20m 16Mi", "1 1Gi"},
		"the whole pod is not ours": {corev1.LimitRangeItem{Type: corev1.LimitTypePod, Max: amounts("1m 1Mi")}, "5m 16Mi", "- 1Gi", "5m 16Mi", "- 1Gi"},
		"Guaranteed stays":          {corev1.LimitRangeItem{Max: amounts("500m 512Mi"), Min: amounts("10m 16Mi")}, "1 1Gi", "1 1Gi", "500m 512Mi", "500m 512Mi"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.item.Type == "" {
				c.item.Type = corev1.LimitTypeContainer
			}
			b := Bounds{Ranges: []corev1.LimitRange{{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{c.item}}}}}
			k := corev1.Container{Resources: corev1.ResourceRequirements{Requests: amounts(c.requests), Limits: amounts(c.limits)}}
			for range 2 { // what fits is left alone
				b.fit(&k)
				for _, x := range []struct {
					what      string
					got, want corev1.ResourceList
				}{{"requests", k.Resources.Requests, amounts(c.wantRequest)}, {"limits", k.Resources.Limits, amounts(c.wantLimit)}} {
					for _, n := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
						got, has := x.got[n]
						want, wants := x.want[n]
						if has != wants || got.Cmp(want) != 0 {
							t.Errorf("%s %s: got %v (%v), want %v (%v)", x.what, n, got.String(), has, want.String(), wants)
						}
					}
				}
			}
		})
	}
}

// TestQuotaOnLimits: a quota on limits that the proxy does not have is said before the API server says
// it, with what to do; with a limit, or a default for it, the pod is injected.
func TestQuotaOnLimits(t *testing.T) {
	quota := corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "team", Namespace: "shop"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourceLimitsCPU: resource.MustParse("4"), corev1.ResourceLimitsMemory: resource.MustParse("8Gi")}},
	}
	scoped := *quota.DeepCopy()
	scoped.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
	defaults := corev1.LimitRange{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer, Default: amounts("1 -")}}}}
	for name, c := range map[string]struct {
		bounds      Bounds
		annotations map[string]string
		refused     bool
	}{
		"no limit":        {Bounds{Quotas: []corev1.ResourceQuota{quota}}, nil, true},
		"annotated":       {Bounds{Quotas: []corev1.ResourceQuota{quota}}, map[string]string{names.AnnotationProxyCPULimit: "1"}, false},
		"a default":       {Bounds{Quotas: []corev1.ResourceQuota{quota}, Ranges: []corev1.LimitRange{defaults}}, nil, false},
		"of other pods":   {Bounds{Quotas: []corev1.ResourceQuota{scoped}}, nil, false},
		"no quota at all": {Bounds{}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: c.annotations}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}}
			facts := NamespaceFacts{Name: "shop", Labels: map[string]string{names.LabelInject: names.InjectEnabled}, Bounds: c.bounds}
			_, refusal := Pod(pod, facts, Settings{Image: "i", Version: "0.1.0", SystemNamespace: names.SystemNamespace})
			if !c.refused {
				if refusal != nil {
					t.Error(refusal.Message())
				}
				return
			}
			if refusal == nil {
				t.Fatal("injected")
			}
			for _, word := range []string{"team", "limits.cpu", names.AnnotationProxyCPULimit, "spec.proxy.resources.limits"} {
				if !strings.Contains(refusal.Message(), word) {
					t.Errorf("%q does not say %q", refusal.Message(), word)
				}
			}
			if strings.Contains(refusal.Message(), "limits.memory") {
				t.Errorf("it has a memory limit: %s", refusal.Message())
			}
		})
	}
}

// TestWholePod: a LimitRange for whole pods that the proxy exceeds is named by the webhook. A pod that
// exceeds it by itself is the API server's to refuse.
func TestWholePod(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	ours := []corev1.Container{
		{Name: "init", Resources: corev1.ResourceRequirements{Requests: amounts("10 10Gi")}},
		{Name: "slot", RestartPolicy: &always, Resources: corev1.ResourceRequirements{Requests: amounts("50m 96Mi"), Limits: amounts("- 1Gi")}},
	}
	for name, c := range map[string]struct {
		most, requests, limits, want string
	}{
		"within":                  {"1 2Gi", "500m 512Mi", "1 1Gi", ""},
		"memory limit":            {"1 1Gi", "500m 512Mi", "1 512Mi", "a pod 1Gi of memory; the limits of this one's containers are 512Mi, and 1536Mi with the proxy"},
		"CPU request":             {"500m -", "480m 512Mi", "500m 512Mi", "a pod 500m of cpu; the requests of this one's containers are 480m, and 530m with the proxy"},
		"too much without us too": {"100m -", "480m 512Mi", "500m 512Mi", ""},
	} {
		b := Bounds{Ranges: []corev1.LimitRange{{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypePod, Max: amounts(c.most)}}}}}}
		spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Resources: corev1.ResourceRequirements{Requests: amounts(c.requests), Limits: amounts(c.limits)}}}}
		got := strings.Join(b.exceeded(spec, ours), "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
