// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	gwapixv1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/names"
)

// inUseShown is how many pods and routes a message names.
const inUseShown = 3

// remove takes a Mesh down once nobody uses it, or its owner says that this doesn't matter.
func remove(m *v1alpha1.Mesh, o Observed) Plan {
	if !slices.Contains(m.Finalizers, names.Finalizer) {
		return Plan{Status: m.Status}
	}
	if o.OlderMesh != "" {
		// It is not the active one: all there is belongs to the other.
		return Plan{Status: m.Status, Done: true}
	}
	forced := m.Annotations[names.AnnotationForceDelete] == "true"
	if used := o.Usage; len(used.Pods)+len(used.Routes) > 0 && !forced {
		return Plan{Status: inUse(m, used), Again: 15 * time.Second}
	}
	p := Plan{Status: deleting(m), Steps: takeDown(o)}
	// The finalizer goes when a later look finds nothing, so that what somebody made again in
	// between (cert-manager, a Secret) goes too.
	if p.Done = len(p.Steps) == 0; !p.Done {
		p.Again = time.Second
	}
	return p
}

func inUse(m *v1alpha1.Mesh, used Usage) v1alpha1.MeshStatus {
	var parts []string
	if n := len(used.Pods); n > 0 {
		parts = append(parts, fmt.Sprintf("%d %s a proxy (%s)", n, plural(n, "pod carries", "pods carry"), list(used.Pods)))
	}
	if n := len(used.Routes); n > 0 {
		parts = append(parts, fmt.Sprintf("%d %s attached (%s)", n, plural(n, "route is", "routes are"), list(used.Routes)))
	}
	message := strings.Join(parts, " and ") + "; take the label " + names.LabelInject +
		" away, restart the pods and delete the routes, or, to delete the Mesh all the same: kubectl annotate mesh.tulle.dev " +
		m.Name + " " + names.AnnotationForceDelete + "=true"
	s := *m.Status.DeepCopy()
	s.ObservedGeneration = m.Generation
	s.Conditions = replace(s.Conditions, m.Generation, v1alpha1.ConditionInUse, health.Verdict{Good: true, Reason: v1alpha1.ReasonPodsOrRoutes, Message: message})
	return s
}

func deleting(m *v1alpha1.Mesh) v1alpha1.MeshStatus {
	s := *m.Status.DeepCopy()
	s.ObservedGeneration = m.Generation
	s.Conditions = slices.DeleteFunc(s.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionInUse })
	s.Conditions = replace(s.Conditions, m.Generation, v1alpha1.ConditionReady, health.Verdict{Reason: v1alpha1.ReasonDeleting, Message: "the mesh is being taken down"})
	return s
}

// replace sets one condition and leaves the others.
func replace(list []metav1.Condition, generation int64, kind string, v health.Verdict) []metav1.Condition {
	c := conditions{generation: generation}
	c.add(kind, v)
	list = slices.DeleteFunc(list, func(x metav1.Condition) bool { return x.Type == kind })
	return append(list, c.list...)
}

func list(all []string) string {
	if len(all) <= inUseShown {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:inUseShown], ", "), len(all)-inUseShown)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// takeDown is the safe order of the end. Each line takes away what nothing below needs any more.
func takeDown(o Observed) []Step {
	all := slices.Concat(o.Owned, o.Leftovers)
	if o.XMesh && o.XMeshOurs {
		all = append(all, Ref{
			GroupVersionKind: schema.FromAPIVersionAndKind(gwapixv1.GroupVersion.String(), "XMesh"),
			NamespacedName:   types.NamespacedName{Name: names.XMesh},
		})
	}
	order := []struct {
		step  string
		kinds []string
	}{
		{"webhook", []string{"MutatingWebhookConfiguration"}},                     // new pods start without a proxy, rather than not at all
		{"gateway api", []string{"GatewayClass", "XMesh"}},                        // nobody new relies on it
		{"workloads", []string{"Deployment", "DaemonSet", "PodDisruptionBudget"}}, // control plane and gateways stop
		{"services", []string{"Service"}},                                         // nothing answers there any more
		{"certificates", []string{"Certificate", "Issuer"}},                       // before their Secrets, or cert-manager writes them again
		{"secrets", []string{"Secret"}},                                           //
		{"trust", []string{"ConfigMap"}},                                          // no pod needs the roots any more
		{"rights", []string{"ClusterRoleBinding", "RoleBinding", "Role"}},         // nobody is left to use them
		{"accounts", []string{"ClusterRole", "ServiceAccount"}},                   //
	}
	var out []Step
	for _, line := range order {
		s := Step{Name: line.step}
		for _, r := range all {
			// What waits for somebody else's finalizer is that one's to end, and holds nothing up.
			if !r.Deleting && slices.Contains(line.kinds, r.Kind) && !slices.ContainsFunc(s.Delete, r.same) {
				s.Delete = append(s.Delete, r)
			}
		}
		if len(s.Delete) > 0 {
			out = append(out, s)
		}
	}
	return out
}
