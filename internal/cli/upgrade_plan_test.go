// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/api/v1alpha1"
)

// proxyPods is a list of pods of ReplicaSets: "NAMESPACE/SET" -> how many, on node n1 but for one.
func proxyPods(sets map[string]int, extra ...string) string {
	var items []string
	for set, n := range sets {
		ns, name, _ := strings.Cut(set, "/")
		for i := range n {
			items = append(items, fmt.Sprintf(`{"metadata":{"namespace":%q,"name":"%s-%d","labels":{"tulle.dev/proxy":"sidecar","tulle.dev/version":"0.2.0","app":%q},
				"ownerReferences":[{"kind":"ReplicaSet","name":%q,"controller":true}]},
				"spec":{"nodeName":"n1","initContainers":[{"name":"tulle-proxy-a"},{"name":"tulle-proxy-b"}]}}`, ns, name, i, name, name))
		}
	}
	return `{"kind":"PodList","apiVersion":"v1","items":[` + strings.Join(append(items, extra...), ",") + `]}`
}

const (
	gatewayPod  = `{"metadata":{"namespace":"infra","name":"gw-1","labels":{"tulle.dev/proxy":"gateway"}},"spec":{"initContainers":[{"name":"tulle-proxy-a"},{"name":"tulle-proxy-b"}]}}`
	oldNodesPod = `{"metadata":{"namespace":"shop","name":"aged","labels":{"tulle.dev/proxy":"sidecar"}},"spec":{"nodeName":"n2","initContainers":[{"name":"tulle-proxy-a"},{"name":"tulle-proxy-b"}]}}`
	donePod     = `{"metadata":{"namespace":"shop","name":"done","labels":{"tulle.dev/proxy":"sidecar","tulle.dev/version":"0.3.0"}},"spec":{"nodeName":"n1","initContainers":[{"name":"tulle-proxy-a"},{"name":"tulle-proxy-b"}]}}`
	endedPod    = `{"metadata":{"namespace":"shop","name":"ended","labels":{"tulle.dev/proxy":"sidecar"}},"spec":{},"status":{"phase":"Succeeded"}}`
	nodeList    = `{"kind":"NodeList","apiVersion":"v1","items":[{"metadata":{"name":"n1"},"status":{"nodeInfo":{"kubeletVersion":"v1.36.3"}}},{"metadata":{"name":"n2"},"status":{"nodeInfo":{"kubeletVersion":"v1.31.2"}}}]}`
	spaceList   = `{"kind":"NamespaceList","apiVersion":"v1","items":[{"metadata":{"name":"canary","labels":{"tulle.dev/upgrade":"first"}}},{"metadata":{"name":"legacy","labels":{"tulle.dev/upgrade":"never"}}}]}`
)

func planPaths() map[string]string {
	return map[string]string{
		"/api/v1/pods": proxyPods(map[string]int{"shop/web": 4, "shop/one": 1, "canary/try": 1, "legacy/old": 1}, gatewayPod, oldNodesPod, donePod, endedPod),
		// The list of those with the label: the server selects.
		"/api/v1/namespaces": spaceList, "/api/v1/nodes": nodeList,
	}
}

// TestUpgradePlan: every pod is in a wave once, or left out with the reason.
func TestUpgradePlan(t *testing.T) {
	m := meshOf("0.2.0", "0.2.0", false, nil)
	limit := intstr.FromString("10%")
	m.Spec.Upgrade.MaxUnavailable, m.Spec.Upgrade.Soak = &limit, metav1.Duration{Duration: time.Minute}
	o := &oneMesh{mesh: m, paths: planPaths()}
	config := o.start(t)
	code, out, errs := call(t, "", "upgrade", "plan", "--kubeconfig", config)
	for _, want := range []string{
		"From 0.2.0 to 0.3.0: 7 proxies in ", "at most 10% at once; each wave is watched for 1m0s.", "1     1     0     canary/try-0\n",
		"Left out:", "infra/gw-1: a Gateway's proxies", "legacy/old-0: the label tulle.dev/upgrade=never", "shop/aged: the kubelet of its node is v1.31.2",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code != exitOK || strings.Contains(out, "ended") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}

	_, out, errs = call(t, "", "upgrade", "plan", "0.3.0", "-o", "json", "--kubeconfig", config)
	var v planView
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err, out, errs)
	}
	seen, done := map[string]int{}, 0
	for _, w := range v.Waves {
		done += w.Done
		for _, p := range w.Pods {
			seen[p]++
		}
	}
	for _, p := range []string{"shop/web-0", "shop/web-1", "shop/web-2", "shop/web-3", "shop/one-0", "canary/try-0", "shop/done"} {
		if seen[p] != 1 {
			t.Errorf("%s is in %d waves", p, seen[p])
		}
	}
	if len(seen) != 7 || len(v.LeftOut) != 3 || done != 1 {
		t.Errorf("%d pods, %d done, left out %+v", len(seen), done, v.LeftOut)
	}
}

// TestUpgradePlanRefuses: a plan that can't be carried out says what to correct, and a release to
// which there is no way is no plan.
func TestUpgradePlanRefuses(t *testing.T) {
	percent := int32(100)
	bad := meshOf("0.3.0", "0.2.0", false, nil)
	bad.Spec.Upgrade.Waves = []v1alpha1.Wave{{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "nobody"}}}, {Percent: &percent}}
	for name, c := range map[string]struct {
		mesh *v1alpha1.Mesh
		args string
		code int
		says string
	}{
		"a wave that picks nobody": {bad, "", exitFound, "To be corrected first: spec.upgrade.waves[0].selector"},
		"nothing newer":            {meshOf("0.3.0", "0.3.0", false, nil), "", exitError, "knows no newer release"},
		"back":                     {meshOf("0.3.0", "0.3.0", false, nil), "0.2.0", exitOK, "From 0.3.0 to 0.2.0"},
		"two steps":                {meshOf("0.2.0", "0.2.0", false, nil), "0.4.0", exitError, "0.2"},
		"no Mesh":                  {nil, "", exitError, "there is no Mesh"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &oneMesh{mesh: c.mesh, paths: planPaths()}
			code, out, errs := call(t, "", append(append([]string{"upgrade", "plan"}, strings.Fields(c.args)...), "--kubeconfig", o.start(t))...)
			if code != c.code || !strings.Contains(out+errs, c.says) {
				t.Errorf("exit %d\n%s%s", code, out, errs)
			}
		})
	}
}
