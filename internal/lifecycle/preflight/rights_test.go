// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package preflight

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

// TestRightsOfObjects: what is granted must be held, and only what is bound from elsewhere needs "bind".
func TestRightsOfObjects(t *testing.T) {
	role := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": map[string]any{"namespace": "s", "name": "r"},
		"rules": []any{map[string]any{"apiGroups": []any{""}, "resources": []any{"secrets"}, "verbs": []any{"get"}, "resourceNames": []any{"a", "b"}}},
	}}
	binding := func(to string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": map[string]any{"namespace": "s", "name": to},
			"roleRef": map[string]any{"kind": "Role", "name": to},
		}}
	}
	const rbac = "rbac.authorization.k8s.io"
	want := []Right{
		{"get", "", "secrets", "s", "a"},
		{"get", "", "secrets", "s", "b"},
		{"create", rbac, "rolebindings", "s", ""},
		{"patch", rbac, "rolebindings", "s", "other"},
		{"patch", rbac, "rolebindings", "s", "r"},
		{"create", rbac, "roles", "s", ""},
		{"bind", rbac, "roles", "s", "other"},
		{"delete", rbac, "roles", "s", "r"},
		{"patch", rbac, "roles", "s", "r"},
	}
	got := Rights([]*unstructured.Unstructured{role, binding("r"), binding("other")}, []*unstructured.Unstructured{role}, nil)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestRightsOfPods: only what is going to be done is asked for.
func TestRightsOfPods(t *testing.T) {
	sidecar := upgrade.Pod{Kind: names.KindSidecar}
	never, bare := sidecar, sidecar
	never.Order, bare.Obstacle = names.UpgradeNever, "it has no second slot"
	for name, c := range map[string]struct {
		pod  upgrade.Pod
		want []Right
	}{
		"in place":      {sidecar, []Right{{Verb: "patch", Resource: "pods"}}},
		"a Gateway's":   {upgrade.Pod{Kind: names.KindGateway}, []Right{{Verb: "patch", Group: "apps", Resource: "deployments"}}},
		"a StatefulSet": {restarted("StatefulSet"), []Right{{Verb: "patch", Group: "apps", Resource: "statefulsets"}}},
		"a DaemonSet":   {restarted("DaemonSet"), []Right{{Verb: "patch", Group: "apps", Resource: "daemonsets"}}},
		"left out":      {never, nil},
		"left alone":    {bare, nil},
	} {
		if d := cmp.Diff(c.want, Rights(nil, nil, []upgrade.Pod{c.pod, c.pod})); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestDenied: one sentence, the verbs of one thing together, and not a page of it.
func TestDenied(t *testing.T) {
	one(t, Obstacles(Ground{Denied: []Right{
		{"patch", "", "pods", "", ""},
		{"patch", "apps", "deployments", "s", "x"},
		{"delete", "apps", "deployments", "s", "x"},
	}}, to(), nil, nil), "may not: patch pods; delete, patch deployments.apps x in s; apply the roles")
	var many []Right
	for _, n := range strings.Split("abcdefghij", "") {
		many = append(many, Right{Verb: "get", Resource: n})
	}
	one(t, Obstacles(Ground{Denied: many}, to(), nil, nil), "get f; and 4 more; apply")
}
