// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/names"
)

// working is a cluster whose mesh is ready.
func working(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t)
	c.certMan, c.gateway = true, true
	for range 10 {
		c.do(Next(c.mesh, c.observe(), catalog(), c.now), -1)
		for _, move := range c.others() {
			move()
		}
	}
	if r := reason(c.mesh, v1alpha1.ConditionReady); r != v1alpha1.ReasonReady {
		t.Fatalf("not ready: %s", r)
	}
	return c
}

func step(p Plan, name string) *Step {
	if i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Name == name }); i >= 0 {
		return &p.Steps[i]
	}
	return nil
}

// corp names an issuer that the cluster may or may not have.
func corp(m *v1alpha1.Mesh) {
	m.Spec.Certificates.IssuerRef = &v1alpha1.IssuerRef{Name: "corp", Kind: "ClusterIssuer", Group: "cert-manager.io"}
}

// TestOldIssuerStaysUntilTheNewOneHasIssued: what the certificates in use hang from is not pruned
// because of an issuer that does not work, nor is it taken for the new issuer's work.
func TestOldIssuerStaysUntilTheNewOneHasIssued(t *testing.T) {
	c := working(t)
	corp(c.mesh)
	o := c.observe()
	o.Certificates.Issuer = &health.IssuerFacts{}
	if s := step(Next(c.mesh, o, catalog(), c.now), "prune"); s != nil {
		t.Errorf("pruned: %v", s.Delete)
	}
	o.Certificates.Issuer.Found = true
	o.Certificates.Intermediate.Spec.IssuerRef.Name = names.RootSecret // the old issuer's
	p := Next(c.mesh, o, catalog(), c.now)
	if step(p, "prune") != nil {
		t.Error("pruned before the new issuer has issued")
	}
	cond := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionCertificatesReady)
	if cond.Reason != v1alpha1.ReasonWaitingForCertManager {
		t.Errorf("the old issuer's work is taken for the new one's: %+v", cond)
	}
	o.Certificates.Intermediate.Spec.IssuerRef.Name = "corp"
	o.Certificates.Intermediate.Spec.IssuerRef.Kind = "ClusterIssuer"
	s := step(Next(c.mesh, o, catalog(), c.now), "prune")
	if s == nil || len(s.Delete) != 4 || s.Delete[3].Kind != "Secret" || s.Delete[3].Name != names.RootSecret {
		t.Errorf("want the self-made root's three objects pruned, and then its Secret, got %+v", s)
	}
}

// TestPruneLeavesOthersTheirs: Secrets are cert-manager's, and the ConfigMaps of other namespaces
// the trust controller's, though they carry the Mesh's label.
func TestPruneLeavesOthersTheirs(t *testing.T) {
	c := working(t)
	o := c.observe()
	in := func(kind, namespace, name string) Ref {
		return Ref{GroupVersionKind: schema.GroupVersionKind{Version: "v1", Kind: kind}, NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
	}
	stray := in("ServiceAccount", ns, "tulle-controlplane-0-0-9")
	o.Owned = append(o.Owned, in("Secret", ns, names.RootSecret), in("ConfigMap", "shop", names.TrustConfigMap), stray)
	s := step(Next(c.mesh, o, catalog(), c.now), "prune")
	if s == nil || len(s.Delete) != 1 || s.Delete[0] != stray {
		t.Errorf("want the stray account pruned alone, got %+v", s)
	}
}

// TestNothingWithoutRootsOrSigner: a webhook that nobody can verify, or a control plane that can't
// sign, helps nobody; what serves already is kept all the same.
func TestNothingWithoutRootsOrSigner(t *testing.T) {
	c := working(t)
	full := c.observe()

	lost := full // both the Secret and the roots are gone, and the mesh serves
	lost.Certificates.TLSCrt, lost.Certificates.CACrt, lost.SpreadRoots = nil, nil, ""
	if p := Next(c.mesh, lost, catalog(), c.now); step(p, "webhook") != nil || step(p, "prune") != nil {
		t.Errorf("a webhook without roots: %+v", p.Steps)
	}

	unsigned := full // the Secret is gone, the roots are there, and nothing serves yet
	unsigned.Certificates.TLSCrt, unsigned.Certificates.CACrt, unsigned.ServingRevision = nil, nil, ""
	p := Next(c.mesh, unsigned, catalog(), c.now)
	if step(p, "control plane 0.2.0") != nil || step(p, "webhook") != nil {
		t.Errorf("a control plane without anything to sign with: %+v", p.Steps)
	}
	if step(p, "trust") == nil {
		t.Error("the roots must stay spread")
	}

	serving := full // the Secret is gone and the mesh serves: it is kept in repair
	serving.Certificates.TLSCrt, serving.Certificates.CACrt = nil, nil
	p = Next(c.mesh, serving, catalog(), c.now)
	if step(p, "control plane 0.2.0") == nil || step(p, "webhook") == nil || step(p, "prune") != nil {
		t.Errorf("a serving control plane is let go: %+v", p.Steps)
	}
}

// TestInUse: pods alone hold the Mesh, and so do routes.
func TestInUse(t *testing.T) {
	for name, used := range map[string]Usage{"pods": {Pods: []string{"a/b"}}, "routes": {Routes: []string{"a/b"}}} {
		m := mesh()
		at := metav1.NewTime(start())
		m.DeletionTimestamp, m.Finalizers = &at, []string{names.Finalizer}
		p := Next(m, Observed{Namespace: ns, Usage: used}, catalog(), start())
		cond := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionInUse)
		if p.Done || len(p.Steps) > 0 || cond == nil || !strings.Contains(cond.Message, "1 "+strings.TrimSuffix(name, "s")) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
