// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/facts"
)

// expiryMargin is how long before its end a root is worth a warning: it is renewed by the
// operator long before that, so reaching it means that renewal does not work.
const expiryMargin = 14 * 24 * time.Hour

func operatorRuns(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionMesh, facts.UnreadSystem); done {
		return missed
	}
	if len(f.Operator) == 0 {
		return found(SectionMesh, Problem, "the kind Mesh is installed, but no operator was found in namespace "+f.System,
			"kubectl apply -k config/default, or name the namespace with --system-namespace")
	}
	if len(f.OtherOperators) > 0 {
		return found(SectionMesh, Problem, fmt.Sprintf("an operator runs in namespace %s and in %s: both write the same objects", f.System, few(f.OtherOperators)),
			"keep one: remove what was installed in the other namespace, but for the CRD and what has no namespace")
	}
	for _, w := range f.Operator {
		if w.Ready == 0 {
			return found(SectionMesh, Problem, fmt.Sprintf("the operator %s/%s is not ready", w.Namespace, w.Name),
				fmt.Sprintf("kubectl -n %s logs deploy/%s; running pods and traffic are not affected", w.Namespace, w.Name))
		}
	}
	return ok(SectionMesh, "the operator runs")
}

func oneMesh(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionMesh, facts.UnreadMeshes); done {
		return missed
	}
	active, there := f.ActiveMesh()
	if !there {
		return found(SectionMesh, Warning, "there is no Mesh yet", "kubectl apply -f config/samples/tulle_v1alpha1_mesh.yaml")
	}
	var others []string
	for _, m := range f.Meshes {
		if m.Name != active.Name {
			others = append(others, m.Name)
		}
	}
	if len(others) > 0 {
		return found(SectionMesh, Problem, fmt.Sprintf("%s does nothing, because %s is older", few(others), active.Name),
			"delete the Meshes that are not wanted; a cluster has one")
	}
	return nil
}

// meshConditions shows Ready, and each condition under it that is not True, in its own words.
func meshConditions(f facts.Facts) []Finding {
	m, there := f.ActiveMesh()
	if !there {
		return nil
	}
	if m.Status.ObservedGeneration < m.Generation {
		return found(SectionMesh, Warning, fmt.Sprintf("Mesh %s has a change that the operator has not looked at yet", m.Name),
			"wait a few seconds; if it stays, look at the operator's logs")
	}
	if meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionReady) {
		return ok(SectionMesh, "Mesh %s runs %s", m.Name, m.Status.Version)
	}
	var out []Finding
	for _, name := range []string{
		v1alpha1.ConditionValid, v1alpha1.ConditionCertificatesReady,
		v1alpha1.ConditionControlPlaneReady, v1alpha1.ConditionInjectionReady,
	} {
		c := meta.FindStatusCondition(m.Status.Conditions, name)
		if c != nil && c.Status != metav1.ConditionTrue {
			out = append(out, found(SectionMesh, Problem, fmt.Sprintf("Mesh %s: %s is %s (%s): %s", m.Name, c.Type, c.Status, c.Reason, c.Message),
				"do what the message says; kubectl describe tmesh "+m.Name+" has all of them")...)
		}
	}
	if len(out) == 0 {
		return found(SectionMesh, Problem, fmt.Sprintf("Mesh %s is not ready and does not say why", m.Name),
			"kubectl describe tmesh "+m.Name+", and look at the operator's logs")
	}
	return out
}

func rootExpiry(f facts.Facts) []Finding {
	m, there := f.ActiveMesh()
	if !there || m.Status.RootCertificateExpiry == nil {
		return nil
	}
	end := m.Status.RootCertificateExpiry.Time
	if left := end.Sub(f.At); left < expiryMargin {
		level := Warning
		if left <= 0 {
			level = Problem
		}
		return found(SectionMesh, level, "the root certificate ends on "+end.UTC().Format(time.DateOnly),
			"kubectl -n "+f.System+" get certificates, and see why cert-manager does not renew it")
	}
	return ok(SectionMesh, "the root certificate is good until %s", end.UTC().Format(time.DateOnly))
}

// whoIssues warns where the mesh's root may sign certificates for others than the mesh.
func whoIssues(f facts.Facts) []Finding {
	m, there := f.ActiveMesh()
	if !there {
		return nil
	}
	var out []Finding
	if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionIntermediatesRequired); c != nil && c.Status != metav1.ConditionTrue {
		out = append(out, found(SectionMesh, Warning, fmt.Sprintf("Mesh %s: %s", m.Name, c.Message),
			"wait for condition "+v1alpha1.ConditionIntermediatesRequired+"; its message says what for")...)
	}
	if ref := m.Spec.Certificates.IssuerRef; ref != nil && ref.Group == "cert-manager.io" && ref.Kind == "ClusterIssuer" {
		out = append(out, found(SectionMesh, Warning, fmt.Sprintf("every namespace may ask ClusterIssuer %s, below whose root the mesh's certificates are, for certificates of its own", ref.Name),
			"name an Issuer in namespace "+f.System+" in spec.certificates.issuerRef, or allow no other namespace to use the ClusterIssuer")...)
	}
	return out
}

// unwrittenRoots warns of namespaces in which pods with a proxy do not start; the condition names them and is True.
func unwrittenRoots(f facts.Facts) []Finding {
	m, there := f.ActiveMesh()
	if !there {
		return nil
	}
	c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionInjectionReady)
	if c == nil || c.Reason != v1alpha1.ReasonRootsUnwritten {
		return nil
	}
	return found(SectionMesh, Warning, fmt.Sprintf("Mesh %s: %s", m.Name, c.Message),
		"make room in the quota of the namespace, or correct what else the message names; the operator tries again every 30 seconds")
}

// sourceAddresses warns where a request need not come from an address of its pod.
func sourceAddresses(f facts.Facts) []Finding {
	m, there := f.ActiveMesh()
	if !there || m.Spec.ControlPlane.SourceAddressCheck != v1alpha1.SourceAddressCheckDisabled {
		return nil
	}
	return found(SectionMesh, Warning, "spec.controlPlane.sourceAddressCheck is Disabled: a stolen token or key of a workload can be used from any address",
		"unless this cluster rewrites the source addresses of pods, set it to Enabled")
}

func controlPlaneRuns(f facts.Facts) []Finding {
	if _, missed := f.Missed(facts.UnreadSystem); missed {
		return nil // said by operatorRuns
	}
	if _, there := f.ActiveMesh(); !there {
		return nil
	}
	if len(f.ControlPlane) == 0 {
		return found(SectionControlPlane, Problem, "no control plane is deployed", "kubectl describe tmesh, which says what it waits for")
	}
	var out []Finding
	for _, w := range f.ControlPlane {
		where := fmt.Sprintf("%s: %d of %d replicas ready", w.Name, w.Ready, w.Wanted)
		look := fmt.Sprintf("kubectl -n %s describe deploy/%s, then kubectl -n %s logs deploy/%s", w.Namespace, w.Name, w.Namespace, w.Name)
		switch {
		case w.Ready == 0:
			out = append(out, found(SectionControlPlane, Problem, where+"; running pods go on, new ones can't start", look)...)
		case w.Ready < w.Wanted:
			out = append(out, found(SectionControlPlane, Warning, where, look)...)
		default:
			out = append(out, ok(SectionControlPlane, "%s", where)...)
		}
	}
	return out
}
