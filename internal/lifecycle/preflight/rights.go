// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

// Right is something that the operator must be allowed to do.
type Right struct {
	Verb, Group, Resource string
	// Namespace is empty for the whole cluster, Name for every name.
	Namespace, Name string
}

// Rights are those that it takes to apply and, later, to delete objects, and to replace the proxies of
// pods. They are read off the objects: a control plane that gets one more object or one more right asks
// for it here by itself.
func Rights(applied, deleted []*unstructured.Unstructured, pods []upgrade.Pod) []Right {
	var out []Right
	for _, o := range applied {
		at := on(o)
		// To apply what is not there is to create it. "create" is never limited to a name.
		out = append(out, at("patch", o.GetName()), at("create", ""))
		out = append(out, granted(o, applied)...)
	}
	for _, o := range deleted {
		out = append(out, on(o)("delete", o.GetName()))
	}
	for _, p := range pods {
		switch {
		case p.Kind == names.KindGateway:
			out = append(out, Right{Verb: "patch", Group: "apps", Resource: "deployments"})
		case p.Restarts():
			out = append(out, Right{Verb: "patch", Group: "apps", Resource: strings.ToLower(p.Restart.Kind) + "s"})
		case p.LeftOut() == "":
			out = append(out, Right{Verb: "patch", Resource: "pods"})
		}
	}
	slices.SortFunc(out, compare)
	return slices.Compact(out)
}

// on makes rights on an object.
func on(o *unstructured.Unstructured) func(verb, name string) Right {
	plural, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind()) // right for every kind that Tulle makes
	return func(verb, name string) Right {
		return Right{Verb: verb, Group: plural.Group, Resource: plural.Resource, Namespace: o.GetNamespace(), Name: name}
	}
}

// granted are the rights that the operator must hold itself to give them to others, which is what a
// role does, or a binding to a role that is not among the objects.
func granted(o *unstructured.Unstructured, among []*unstructured.Unstructured) []Right {
	switch o.GetKind() {
	case "ClusterRole", "Role":
		var role rbacv1.ClusterRole // a Role has the same rules
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
			return nil // it would not be applied either
		}
		var out []Right
		for _, r := range role.Rules {
			out = append(out, spelledOut(r, o.GetNamespace())...)
		}
		return out
	case "ClusterRoleBinding", "RoleBinding":
		kind, _, _ := unstructured.NestedString(o.Object, "roleRef", "kind")
		name, _, _ := unstructured.NestedString(o.Object, "roleRef", "name")
		if slices.ContainsFunc(among, func(r *unstructured.Unstructured) bool { return r.GetKind() == kind && r.GetName() == name }) {
			return nil
		}
		return []Right{{Verb: "bind", Group: rbacv1.GroupName, Resource: strings.ToLower(kind) + "s", Namespace: o.GetNamespace(), Name: name}}
	}
	return nil
}

// spelledOut are the single rights of a rule.
func spelledOut(r rbacv1.PolicyRule, namespace string) []Right {
	named := r.ResourceNames
	if len(named) == 0 {
		named = []string{""}
	}
	var out []Right
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				for _, name := range named {
					out = append(out, Right{Verb: verb, Group: group, Resource: resource, Namespace: namespace, Name: name})
				}
			}
		}
	}
	return out
}

func compare(a, b Right) int {
	return cmp.Or(
		cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name), cmp.Compare(a.Verb, b.Verb),
	)
}

// denied says what the operator lacks, the verbs of one resource together.
func denied(list []Right) string {
	if len(list) == 0 {
		return ""
	}
	list = slices.Clone(list)
	slices.SortFunc(list, compare)
	var what []string
	verbs := map[string][]string{}
	for _, r := range list {
		on := r.on()
		if verbs[on] == nil {
			what = append(what, on)
		}
		verbs[on] = append(verbs[on], r.Verb)
	}
	for i, on := range what {
		what[i] = strings.Join(verbs[on], ", ") + " " + on
	}
	const most = 6
	if more := len(what) - most; more > 0 {
		what = append(what[:most], fmt.Sprintf("and %d more", more))
	}
	return "the operator's rights are not enough, it may not: " + strings.Join(what, "; ") + "; apply the roles of config/rbac of the operator's release (the Helm chart and the bundle have them)"
}

func (r Right) on() string {
	s := r.Resource
	if r.Group != "" {
		s += "." + r.Group
	}
	if r.Name != "" {
		s += " " + r.Name
	}
	if r.Namespace != "" {
		s += " in " + r.Namespace
	}
	return s
}
