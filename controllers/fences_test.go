// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controllers

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/names"
)

// policies reads the ValidatingAdmissionPolicies and bindings of config/webhook.
func policies(t *testing.T) (out []admissionv1.ValidatingAdmissionPolicy, bindings []admissionv1.ValidatingAdmissionPolicyBinding) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "config", "webhook", "*fence*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
			var raw map[string]any
			if err := d.Decode(&raw); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			switch raw["kind"] {
			case "ValidatingAdmissionPolicy":
				out = append(out, decoded[admissionv1.ValidatingAdmissionPolicy](t, f, raw))
			case "ValidatingAdmissionPolicyBinding":
				bindings = append(bindings, decoded[admissionv1.ValidatingAdmissionPolicyBinding](t, f, raw))
			}
		}
	}
	return out, bindings
}

// unfenced are the writes that no policy is about, each with the reason why none is needed. What RBAC
// limits to names is not asked for.
var unfenced = map[string]string{
	"patch meshes.tulle.dev/status":                              "the status of the Mesh is the operator's to write",
	"update meshes.tulle.dev/finalizers":                         "only makes owner references of a Mesh possible",
	"create events":                                              "reports",
	"patch events":                                               "reports",
	"create events.events.k8s.io":                                "reports",
	"patch events.events.k8s.io":                                 "reports",
	"create tokenreviews.authentication.k8s.io":                  "changes nothing",
	"create subjectaccessreviews.authorization.k8s.io":           "changes nothing",
	"create leases.coordination.k8s.io":                          "only in the operator's own namespace; changes are limited to two names",
	"patch gateways.gateway.networking.k8s.io/status":            "a Gateway that has left is of another class, so the class does not say whose it was",
	"update gateways.gateway.networking.k8s.io/status":           "as above",
	"patch listenersets.gateway.networking.k8s.io/status":        "as a Gateway's",
	"update listenersets.gateway.networking.k8s.io/status":       "as a Gateway's",
	"patch backendtlspolicies.gateway.networking.k8s.io/status":  "held to grant it; control planes have a policy of their own",
	"update backendtlspolicies.gateway.networking.k8s.io/status": "as above",
	"patch grpcroutes.gateway.networking.k8s.io/status":          "as above",
	"update grpcroutes.gateway.networking.k8s.io/status":         "as above",
	"patch httproutes.gateway.networking.k8s.io/status":          "as above",
	"update httproutes.gateway.networking.k8s.io/status":         "as above",
	"patch tcproutes.gateway.networking.k8s.io/status":           "as above",
	"update tcproutes.gateway.networking.k8s.io/status":          "as above",
	"patch tlsroutes.gateway.networking.k8s.io/status":           "as above",
	"update tlsroutes.gateway.networking.k8s.io/status":          "as above",
	"patch udproutes.gateway.networking.k8s.io/status":           "as above",
	"update udproutes.gateway.networking.k8s.io/status":          "as above",
	"bind clusterroles.rbac.authorization.k8s.io":                "no write: the binding is one, and fenced",
	"update leases.coordination.k8s.io":                          "two names",
	"delete secrets":                                             "four names",
}

// onlyOwn tells whether a policy's binding is about all objects, or about those with the label without which another
// policy refuses the operator the same: tulle-operator-objects all writes, tulle-operator-pods other repositories.
func onlyOwn(policy string, m *admissionv1.MatchResources) bool {
	selector := metav1.LabelSelector{MatchLabels: map[string]string{names.LabelManagedBy: names.Operator}}
	if policy == names.PodImageFence {
		selector = metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: names.LabelImageReplaced, Operator: metav1.LabelSelectorOpExists}}}
	}
	return m == nil || equality.Semantic.DeepEqual(m, &admissionv1.MatchResources{ObjectSelector: &selector})
}

// TestEveryWriteIsFenced: for each write that the operator's roles allow there is a policy about that
// operation of the account, or a reason. Operations are of admission: an apply creates or updates.
func TestEveryWriteIsFenced(t *testing.T) {
	all, bindings := policies(t)
	var found []string
	for _, p := range all {
		found = append(found, p.Name)
		if !slices.ContainsFunc(bindings, func(b admissionv1.ValidatingAdmissionPolicyBinding) bool {
			return b.Name == p.Name && b.Spec.PolicyName == p.Name && onlyOwn(p.Name, b.Spec.MatchResources) &&
				slices.Equal(b.Spec.ValidationActions, []admissionv1.ValidationAction{admissionv1.Deny})
		}) {
			t.Errorf("policy %s has no binding that denies", p.Name)
		}
		if p.Spec.FailurePolicy == nil || *p.Spec.FailurePolicy != admissionv1.Fail {
			t.Errorf("policy %s does not fail closed", p.Name)
		}
	}
	want := names.Fences()
	slices.Sort(found)
	slices.Sort(want)
	if !slices.Equal(found, want) {
		t.Errorf("config/webhook has %q, and names.Fences %q", found, want)
	}
	operations := map[string]admissionv1.OperationType{"create": admissionv1.Create, "patch": admissionv1.Update, "update": admissionv1.Update, "delete": admissionv1.Delete}
	fenced := func(group, resource string, op admissionv1.OperationType) bool {
		return slices.ContainsFunc(all, func(p admissionv1.ValidatingAdmissionPolicy) bool {
			return slices.ContainsFunc(p.Spec.MatchConstraints.ResourceRules, func(r admissionv1.NamedRuleWithOperations) bool {
				return p.Name != names.ControlPlaneFence && p.Name != names.PodImageFence && slices.Contains(r.APIGroups, group) && slices.Contains(r.Resources, resource) && slices.Contains(r.Operations, op)
			})
		})
	}
	used := map[string]bool{}
	for _, r := range slices.Concat(rules(t, "cluster_role.yaml"), rules(t, "role.yaml")) {
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				for _, verb := range r.Verbs {
					if slices.Contains([]string{"get", "list", "watch"}, verb) {
						continue
					}
					name, sub, _ := strings.Cut(resource, "/")
					id := verb + " " + name
					if group != "" {
						id += "." + group
					}
					if sub != "" {
						id += "/" + sub
					}
					if op, ok := operations[verb]; ok && fenced(group, resource, op) {
						continue
					}
					if _, ok := unfenced[id]; !ok {
						t.Errorf("no policy is about %q of the operator", id)
					}
					used[id] = true
				}
			}
		}
	}
	for id := range unfenced {
		if !used[id] {
			t.Errorf("the operator has no unfenced right %q", id)
		}
	}
}

// TestNoRightOnFences: what is fenced must not own the fence.
func TestNoRightOnFences(t *testing.T) {
	for _, r := range slices.Concat(rules(t, "cluster_role.yaml"), rules(t, "role.yaml"), render.ClusterRules(), render.NamespaceRules()) {
		for _, resource := range r.Resources {
			if strings.HasPrefix(resource, "validatingadmissionpolic") {
				t.Errorf("a right on policies: %v", r)
			}
		}
		if slices.Contains(r.ResourceNames, names.ImagesRole) {
			t.Errorf("a right on the list of images: %v", r)
		}
	}
}

func decoded[T any](t *testing.T, file string, raw map[string]any) (out T) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &out); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return out
}
