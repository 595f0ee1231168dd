// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/rotation"
	"tulle.dev/tulle/internal/names"
)

func v1(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Version: "v1", Kind: kind}
}

// TestConvergesAfterACrashAnywhere drives a simulated cluster by random moves: rounds of the
// operator that crash at a random object, and moves of cert-manager and of Deployments. Whatever
// the order, the mesh gets ready, a change of version never leaves it without a control plane that
// serves, and its deletion leaves nothing.
func TestConvergesAfterACrashAnywhere(t *testing.T) {
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := newCluster(t)
		// settle moves at random until the condition holds.
		settle := func(what string, done func() bool, always func()) {
			for range 400 {
				if done() {
					return
				}
				moves := c.others()
				if len(moves) > 0 && r.IntN(2) == 0 {
					moves[r.IntN(len(moves))]()
				} else {
					stop := -1
					if r.IntN(3) > 0 {
						stop = r.IntN(30)
					}
					c.do(Next(c.mesh, c.observe(), catalog(), c.now), stop)
				}
				c.now = c.now.Add(time.Second)
				always()
			}
			t.Fatalf("seed %d: %s: not after 400 moves; status: %+v", seed, what, c.mesh.Status)
		}
		ready := func() bool {
			cond := meta.FindStatusCondition(c.mesh.Status.Conditions, v1alpha1.ConditionReady)
			return cond != nil && cond.Status == metav1.ConditionTrue && c.mesh.Status.Version == c.mesh.Spec.Version
		}
		nothing := func() {}

		settle("missing kinds are told", func() bool {
			return reason(c.mesh, v1alpha1.ConditionValid) == v1alpha1.ReasonCertManagerMissing
		}, nothing)
		c.certMan, c.gateway = true, true
		settle("install", ready, nothing)

		c.mesh.Spec.Version, c.mesh.Generation = "0.3.0", 2
		settle("upgrade", ready, func() {
			rev := c.observe().ServingRevision
			if c.ready[names.ControlPlaneDeployment(rev)] == 0 {
				t.Fatalf("seed %d: the Service leads to revision %q, which does not serve", seed, rev)
			}
		})
		settle("the old revision is gone", func() bool {
			for k := range c.objects {
				if strings.Contains(k, names.ControlPlaneDeployment("0-2-0")) {
					return false
				}
			}
			return true
		}, nothing)

		// Somebody deletes a third of everything.
		for k := range c.objects {
			if r.IntN(3) == 0 && !strings.HasPrefix(k, "Service ") {
				delete(c.objects, k)
				delete(c.uids, k)
			}
		}
		before := len(c.objects)
		settle("drift is repaired", func() bool {
			return ready() && c.has("ClusterRole", "", names.ControlPlaneDeployment("0-3-0")) && len(c.objects) >= before &&
				len(lacking(c)) == 0
		}, nothing)

		now := metav1.NewTime(c.now)
		c.mesh.DeletionTimestamp = &now
		settle("deletion", func() bool { return !c.finalized }, nothing)
		if len(c.objects) > 0 || len(c.secrets) > 0 {
			t.Errorf("seed %d: left behind: %v, %v", seed, c.objects, c.secrets)
		}
	}
}

// lacking lists what the plan wants applied and the cluster lacks.
func lacking(c *cluster) []string {
	var out []string
	for _, s := range Next(c.mesh, c.observe(), catalog(), c.now).Steps {
		for _, o := range append(s.Apply, s.Create...) {
			if _, ok := c.objects[key(refOf(o))]; !ok {
				out = append(out, key(refOf(o)))
			}
		}
	}
	return out
}

func reason(m *v1alpha1.Mesh, kind string) string {
	if c := meta.FindStatusCondition(m.Status.Conditions, kind); c != nil {
		return c.Reason
	}
	return ""
}

// TestSameSightSamePlan: what is said and done depends on what is seen alone, not on its order.
func TestSameSightSamePlan(t *testing.T) {
	c := newCluster(t)
	c.certMan, c.gateway = true, true
	for range 10 {
		c.do(Next(c.mesh, c.observe(), catalog(), c.now), -1)
		for _, move := range c.others() {
			move()
		}
	}
	o := c.observe()
	first := Next(c.mesh, o, catalog(), c.now)
	if cond := meta.FindStatusCondition(first.Status.Conditions, v1alpha1.ConditionReady); cond == nil || cond.Status != metav1.ConditionTrue {
		t.Fatalf("not ready: %+v", cond)
	}
	slices.Reverse(o.Owned)
	if d := cmp.Diff(first, Next(c.mesh, o, catalog(), c.now)); d != "" {
		t.Error(d)
	}
}

// TestIntermediatesRequired: the condition and an event say when certificates of others are refused, and the
// webhook is called by the same rule; of a shared issuer an event warns once.
func TestIntermediatesRequired(t *testing.T) {
	c := newCluster(t)
	c.mesh.Spec.Version = "0.3.0"
	c.certMan, c.gateway = true, true
	said := map[string]int{}
	for range 12 {
		p := Next(c.mesh, c.observe(), catalog(), c.now)
		for _, e := range p.Events {
			said[e.Reason]++
		}
		c.do(p, -1)
		for _, move := range c.others() {
			move()
		}
	}
	if r := reason(c.mesh, v1alpha1.ConditionIntermediatesRequired); r != v1alpha1.ReasonRequired || said[v1alpha1.ConditionIntermediatesRequired] != 1 {
		t.Errorf("condition %s, events %v", r, said)
	}
	o := c.observe()
	list := o.Rotation.Anchors.Intermediates
	if list == "" || list != string(c.secrets[names.IntermediateSecret][0]) {
		t.Errorf("the ConfigMap has the intermediates %q", list)
	}
	for _, s := range Next(c.mesh, o, catalog(), c.now).Steps {
		for _, x := range s.Apply {
			if text := fmt.Sprint(x.Object); x.GetKind() == "MutatingWebhookConfiguration" && !strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(list))[:100]) {
				t.Error("the API server would accept any certificate of the root as the webhook's")
			}
		}
	}

	old := decision{mesh: c.mesh, serving: release.Release{Version: "0.2.0"}, rotation: rotation.Result{RequiredSince: c.mesh.Status.IntermediatesRequiredSince}}
	if v := old.judgeIntermediates(); v.Good || v.Reason != v1alpha1.ReasonNotServed {
		t.Errorf("with the control plane of 0.2.0: %+v", v)
	}

	d := decision{mesh: &v1alpha1.Mesh{}}
	d.certs.Verdict = health.Verdict{Good: true, Reason: v1alpha1.ReasonIssuedBySharedIssuer, Message: "shared"}
	if e := d.trustEvents(); len(e) != 1 || !e[0].Warning || e[0].Message != "shared" {
		t.Errorf("events %+v", e)
	}
	d.mesh.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionCertificatesReady, Reason: v1alpha1.ReasonIssuedBySharedIssuer}}
	if e := d.trustEvents(); len(e) != 0 {
		t.Errorf("events %+v", e)
	}
	if v := d.judgeIntermediates(); v.Good || v.Reason != v1alpha1.ReasonRecording {
		t.Errorf("%+v", v)
	}
}

// TestSays is the table of what a user reads.
func TestSays(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(*v1alpha1.Mesh, *Observed)
		condition string
		status    metav1.ConditionStatus
		reason    string
		words     []string
		steps     string
	}{
		"unknown version": {
			func(m *v1alpha1.Mesh, _ *Observed) { m.Spec.Version = "9.9.9" },
			v1alpha1.ConditionValid, metav1.ConditionFalse, v1alpha1.ReasonUnknownVersion,
			[]string{"9.9.9", "0.2.0, 0.3.0"},
			"",
		},
		"cert-manager missing": {
			func(_ *v1alpha1.Mesh, o *Observed) { o.CertManager = false },
			v1alpha1.ConditionValid, metav1.ConditionFalse, v1alpha1.ReasonCertManagerMissing,
			[]string{InstallCertManager},
			"gateway api",
		},
		"gateway api missing": {
			func(_ *v1alpha1.Mesh, o *Observed) { o.GatewayAPI = false },
			v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonGatewayAPIMissing,
			[]string{InstallGatewayAPI},
			"certificates",
		},
		"bad selector": {
			func(m *v1alpha1.Mesh, _ *Observed) {
				m.Spec.Injection.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "no spaces please"}}
			},
			v1alpha1.ConditionValid, metav1.ConditionFalse, v1alpha1.ReasonInvalidSelector,
			[]string{"no spaces please"},
			"certificates, gateway api",
		},
		"issuer missing": {
			func(m *v1alpha1.Mesh, o *Observed) {
				m.Spec.Certificates.IssuerRef = &v1alpha1.IssuerRef{Name: "corp", Kind: "ClusterIssuer", Group: "cert-manager.io"}
				o.Certificates.Issuer = &health.IssuerFacts{}
			},
			v1alpha1.ConditionCertificatesReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound,
			[]string{"ClusterIssuer corp"},
			"certificates, gateway api",
		},
		"issuer that can't": {
			func(m *v1alpha1.Mesh, o *Observed) {
				m.Spec.Certificates.IssuerRef = &v1alpha1.IssuerRef{Name: "self", Kind: "Issuer", Group: "cert-manager.io"}
				o.Certificates.Issuer = &health.IssuerFacts{Found: true}
				o.Certificates.Issuer.Spec.SelfSigned = &cmv1.SelfSignedIssuer{}
			},
			v1alpha1.ConditionCertificatesReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerCannotSignCA,
			[]string{"Issuer self", "leave issuerRef out"},
			"gateway api",
		},
		"second mesh": {
			func(_ *v1alpha1.Mesh, o *Observed) { o.OlderMesh = "first" },
			v1alpha1.ConditionConflicted, metav1.ConditionTrue, v1alpha1.ReasonOlderMesh,
			[]string{"Mesh first"},
			"",
		},
		"deleted in use": {
			func(m *v1alpha1.Mesh, o *Observed) {
				now := metav1.NewTime(start())
				m.DeletionTimestamp, m.Finalizers = &now, []string{names.Finalizer}
				o.Usage = Usage{Pods: []string{"a/1", "a/2", "a/3", "b/1"}, Routes: []string{"a/r"}}
			},
			v1alpha1.ConditionInUse, metav1.ConditionTrue, v1alpha1.ReasonPodsOrRoutes,
			[]string{"4 pods carry a proxy (a/1, a/2, a/3 and 1 more)", "1 route is attached (a/r)", names.AnnotationForceDelete + "=true"},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, o := mesh(), Observed{Namespace: ns, CertManager: true, GatewayAPI: true, XMeshKind: true}
			m.Generation = 7
			c.change(m, &o)
			p := Next(m, o, catalog(), start())
			cond := meta.FindStatusCondition(p.Status.Conditions, c.condition)
			if cond == nil || cond.Status != c.status || cond.Reason != c.reason || cond.ObservedGeneration != 7 {
				t.Fatalf("condition %s: %+v", c.condition, cond)
			}
			for _, w := range c.words {
				if !strings.Contains(cond.Message, w) {
					t.Errorf("message %q lacks %q", cond.Message, w)
				}
			}
			var steps []string
			for _, s := range p.Steps {
				steps = append(steps, s.Name)
			}
			if got := strings.Join(steps, ", "); got != c.steps {
				t.Errorf("steps: got %q, want %q", got, c.steps)
			}
		})
	}
}

// TestAnyAddress: the condition reports that requests may come from any address, whatever else it reports.
func TestAnyAddress(t *testing.T) {
	m := mesh()
	m.Spec.ControlPlane.SourceAddressCheck = v1alpha1.SourceAddressCheckDisabled
	for was, want := range map[health.Verdict]string{
		{Good: true, Reason: v1alpha1.ReasonServing, Message: "ready"}:     v1alpha1.ReasonSourceAddressCheckDisabled,
		{Good: true, Reason: v1alpha1.ReasonDegraded, Message: "one"}:      v1alpha1.ReasonDegraded,
		{Good: false, Reason: v1alpha1.ReasonUnavailable, Message: "none"}: v1alpha1.ReasonUnavailable,
	} {
		d := decision{mesh: m}
		d.seen.ServingRevision, d.controlPlane.Verdict = "0-1-0", was
		v := d.judgeControlPlane()
		if v.Good != was.Good || v.Reason != want || !strings.HasPrefix(v.Message, was.Message+"; ") || !strings.Contains(v.Message, "can be used from any address") {
			t.Errorf("%+v: %+v", was, v)
		}
	}
}

// TestForceDelete: with the annotation, pods and routes don't hold the Mesh.
func TestForceDelete(t *testing.T) {
	m := mesh()
	now := metav1.NewTime(start())
	m.DeletionTimestamp, m.Finalizers = &now, []string{names.Finalizer}
	m.Annotations = map[string]string{names.AnnotationForceDelete: "true"}
	o := Observed{Namespace: ns, Usage: Usage{Pods: []string{"a/1"}}, Owned: []Ref{{GroupVersionKind: v1("Service")}, {
		GroupVersionKind: schema.GroupVersionKind{Kind: "MutatingWebhookConfiguration"},
	}}}
	p := Next(m, o, catalog(), start())
	if p.Done || len(p.Steps) != 2 || p.Steps[0].Name != "webhook" {
		t.Errorf("the webhook must go first, and the finalizer stay: %+v", p)
	}
	o.Owned = []Ref{{GroupVersionKind: v1("Service"), Deleting: true}}
	if p := Next(m, o, catalog(), start()); !p.Done {
		t.Error("something that waits for somebody else's finalizer must not hold the Mesh's")
	}
}
