// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controllers

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/preflight"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

func rules(t *testing.T, file string) []rbacv1.PolicyRule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "config", "rbac", file))
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole // a Role has the same rules
	if err := yaml.UnmarshalStrict(text, &role); err != nil {
		t.Fatal(err)
	}
	if len(role.Rules) == 0 {
		t.Fatalf("%s has no rules", file)
	}
	return role.Rules
}

// holds tells whether some rule allows this, for every name unless one is given.
func holds(list []rbacv1.PolicyRule, group, resource, verb, name string) bool {
	return slices.ContainsFunc(list, func(r rbacv1.PolicyRule) bool {
		named := len(r.ResourceNames) == 0 || name != "" && slices.Contains(r.ResourceNames, name)
		return named && slices.Contains(r.APIGroups, group) && slices.Contains(r.Resources, resource) && slices.Contains(r.Verbs, verb)
	})
}

func grantedEverywhere() []rbacv1.PolicyRule {
	return slices.Concat(render.ClusterRules(), render.InternalClusterRules())
}

func grantedHere() []rbacv1.PolicyRule {
	return slices.Concat(render.NamespaceRules(), render.InternalRules("tulle"))
}

// TestOperatorHoldsWhatItGrants: Kubernetes refuses a role with a right that its maker lacks, so
// config/rbac must have everything that render gives to control planes.
func TestOperatorHoldsWhatItGrants(t *testing.T) {
	cluster := rules(t, "cluster_role.yaml")
	here := slices.Concat(cluster, rules(t, "role.yaml"))
	for _, c := range []struct {
		granted, held []rbacv1.PolicyRule
	}{{grantedEverywhere(), cluster}, {grantedHere(), here}} {
		for _, r := range c.granted {
			for _, group := range r.APIGroups {
				for _, resource := range r.Resources {
					for _, verb := range r.Verbs {
						for _, name := range append([]string{""}, r.ResourceNames...) {
							if named := name != ""; named == (len(r.ResourceNames) > 0) && !holds(c.held, group, resource, verb, name) {
								t.Errorf("the operator grants but does not hold: %s %s.%s %s", verb, resource, group, name)
							}
						}
					}
				}
			}
		}
	}
	if !holds(cluster, "rbac.authorization.k8s.io", "clusterroles", "bind", names.GatewaySecretsRole) {
		t.Errorf("the operator may not bind %s", names.GatewaySecretsRole)
	}
}

// TestRightsAreNarrow: no wildcards, no Secret but by name, no right to pass rights on at will.
func TestRightsAreNarrow(t *testing.T) {
	for _, file := range []string{"cluster_role.yaml", "role.yaml", "gateway_secrets_role.yaml"} {
		for _, r := range rules(t, file) {
			all := slices.Concat(r.APIGroups, r.Resources, r.Verbs, r.ResourceNames)
			if slices.Contains(all, "*") {
				t.Errorf("%s: a wildcard in %v", file, r)
			}
			if file != "gateway_secrets_role.yaml" && slices.Contains(r.Resources, "secrets") && len(r.ResourceNames) == 0 {
				t.Errorf("%s: every Secret in %v", file, r)
			}
			if slices.Contains(r.Resources, "leases") && len(r.ResourceNames) == 0 && !slices.Equal(r.Verbs, []string{"create"}) {
				t.Errorf("%s: every Lease in %v", file, r) // only "create" can't be limited to a name
			}
			if slices.Contains(r.Verbs, "escalate") || slices.Contains(r.Verbs, "impersonate") ||
				slices.Contains(r.Verbs, "bind") && len(r.ResourceNames) == 0 {
				t.Errorf("%s: rights can be passed on at will by %v", file, r)
			}
		}
	}
	for _, r := range slices.Concat(grantedEverywhere(), grantedHere()) {
		if slices.Contains(r.Resources, "secrets") || slices.Contains(slices.Concat(r.APIGroups, r.Resources, r.Verbs), "*") {
			t.Errorf("a control plane may %v", r)
		}
	}
}

// TestRightsFollowReleases: cluster-wide objects are changed by name, so every known release must be listed.
func TestRightsFollowReleases(t *testing.T) {
	cluster := rules(t, "cluster_role.yaml")
	for _, rel := range release.Known("a", "b") {
		name := names.ControlPlaneDeployment(rel.Revision())
		for _, verb := range []string{"patch", "delete"} {
			for _, resource := range []string{"clusterroles", "clusterrolebindings"} {
				for _, n := range []string{name, name + "-gateway-secrets"} {
					if !holds(cluster, "rbac.authorization.k8s.io", resource, verb, n) {
						t.Errorf("release %s: the operator may not %s %s %s", rel.Version, verb, resource, n)
					}
				}
			}
			if !holds(cluster, "admissionregistration.k8s.io", "mutatingwebhookconfigurations", verb, name) {
				t.Errorf("release %s: the operator may not %s webhook %s", rel.Version, verb, name)
			}
		}
	}
}

// TestPreflightAsksForWhatIsHeld: the rights that an upgrade's preflight asks for are read off what it
// makes; with config/rbac as it is, none of them is missing, and without any one rule that upgrades
// need, one is.
func TestPreflightAsksForWhatIsHeld(t *testing.T) {
	known := release.Known("a", "b")
	mesh := &v1alpha1.Mesh{}
	pods := []upgrade.Pod{{Kind: names.KindGateway}, {Kind: names.KindSidecar}}
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
		pods = append(pods, upgrade.Pod{Kind: names.KindSidecar, Obstacle: "x", Restart: upgrade.Restart{Kind: kind, Name: "w"}})
	}
	cluster, here := rules(t, "cluster_role.yaml"), rules(t, "role.yaml")
	lacks := func(cluster, here []rbacv1.PolicyRule) (out []preflight.Right) {
		for _, r := range plan.Rights(mesh, names.SystemNamespace, known[0], known[1], pods) {
			held := cluster
			if r.Namespace != "" {
				held = slices.Concat(cluster, here)
			}
			if !holds(held, r.Group, r.Resource, r.Verb, r.Name) {
				out = append(out, r)
			}
		}
		return out
	}
	if l := lacks(cluster, here); len(l) > 0 {
		t.Errorf("the operator's roles lack %+v", l)
	}
	for _, resource := range []string{
		"pods", "statefulsets", "daemonsets", "deployments", "services", "serviceaccounts", "poddisruptionbudgets", "roles", "rolebindings",
		"clusterroles", "clusterrolebindings", "mutatingwebhookconfigurations", "gatewayclasses", "tokenreviews", "leases",
	} {
		without := func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, resource) }
		if len(lacks(slices.DeleteFunc(slices.Clone(cluster), without), slices.DeleteFunc(slices.Clone(here), without))) == 0 {
			t.Errorf("that the operator may do nothing with %s is not found out", resource)
		}
	}
}
