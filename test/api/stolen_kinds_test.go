// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"strings"
	"testing"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/names"
)

// stolenKinds is TestStolenTokenOnOthers for the kinds that exist only while others are installed: with the
// operator's token nothing is asked of other people's issuers, and the Mesh stays its user's; with a control
// plane's, nothing that other controllers wrote to a status changes.
func stolenKinds(t *testing.T) {
	c := stolen(t)
	namespace(t, "stolen-kinds", nil)
	authority := func(how func(*cmv1.Certificate)) attack {
		rel, _ := release.Known("a", "b").Find(release.Current)
		m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}, Spec: v1alpha1.MeshSpec{TrustDomain: "cluster.local"}}
		for _, o := range render.Certificates(render.Input{Mesh: m, Release: rel, Namespace: stolenHome}) {
			if o.GetName() == names.IntermediateSecret {
				cert := typed(t, o, &cmv1.Certificate{})
				how(cert)
				return create(t, cert)
			}
		}
		t.Fatal("no intermediate is rendered")
		return nil
	}
	issuer := func(name string, spec cmv1.IssuerConfig) attack {
		return create(t, &cmv1.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: stolenHome, Name: name, Labels: byOperator}, Spec: cmv1.IssuerSpec{IssuerConfig: spec}})
	}
	mesh := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
	there(t, mesh)
	theirs := &gwapiv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "stolen-kinds"}, Spec: gwapiv1.GatewayClassSpec{ControllerName: "other.example/controller"}}
	if err := admin.Create(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Delete(t.Context(), theirs) })
	for name, do := range map[string]attack{
		"the intermediate":       authority(func(*cmv1.Certificate) {}),
		"an issuer":              issuer(names.RootSecret, cmv1.IssuerConfig{CA: &cmv1.CAIssuer{SecretName: names.RootSecret}}),
		"the self-signed issuer": issuer(render.SelfSignedIssuer, cmv1.IssuerConfig{SelfSigned: &cmv1.SelfSignedIssuer{}}),
		"a finalizer":            change(t, mesh, func(m *v1alpha1.Mesh) { m.Finalizers = append(m.Finalizers, "example.com/x") }),
	} {
		if err := do(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	refusedToOperator(t, c, map[string]attack{
		"a name in DNS":          authority(func(c *cmv1.Certificate) { c.Spec.DNSNames = []string{"bank.example"} }),
		"an identity":            authority(func(c *cmv1.Certificate) { c.Spec.URIs = []string{"spiffe://cluster.local/ns/a/sa/b"} }),
		"a mail address":         authority(func(c *cmv1.Certificate) { c.Spec.EmailAddresses = []string{"a@b.example"} }),
		"no authority":           authority(func(c *cmv1.Certificate) { c.Spec.IsCA = false; c.Spec.NameConstraints = nil }),
		"another Secret":         authority(func(c *cmv1.Certificate) { c.Spec.SecretName = "other" }),
		"another subject":        authority(func(c *cmv1.Certificate) { c.Spec.CommonName = "other" }),
		"an unlimited authority": authority(func(c *cmv1.Certificate) { c.Spec.NameConstraints = nil }),
		"a name that is not one": authority(func(c *cmv1.Certificate) { c.Name, c.Spec.SecretName, c.Spec.CommonName = "mine", "mine", "mine" }),
		"another namespace":      authority(func(c *cmv1.Certificate) { c.Namespace = "stolen-kinds" }),
		"a certificate of a shared issuer": authority(func(c *cmv1.Certificate) {
			c.Spec.IssuerRef = cmmeta.IssuerReference{Kind: "ClusterIssuer", Name: "company"}
			c.Spec.DNSNames = []string{"bank.example"}
		}),
		"an issuer of a Secret":   issuer(names.RootSecret, cmv1.IssuerConfig{CA: &cmv1.CAIssuer{SecretName: "other"}}),
		"an issuer of a name":     issuer("mine", cmv1.IssuerConfig{SelfSigned: &cmv1.SelfSignedIssuer{}}),
		"the Mesh's trust domain": change(t, mesh, func(m *v1alpha1.Mesh) { m.Spec.Injection.Missing = v1alpha1.MissingEvict }),
		"the Mesh's annotations":  change(t, mesh, func(m *v1alpha1.Mesh) { m.Annotations = map[string]string{names.AnnotationForceDelete: "true"} }),
		"a class of others": func(c client.Client) error {
			after := theirs.DeepCopy()
			after.Status.Conditions = []metav1.Condition{{Type: "Accepted", Status: metav1.ConditionFalse, Reason: "X", LastTransitionTime: metav1.Now()}}
			return c.Status().Patch(t.Context(), after, client.MergeFrom(theirs), client.DryRunAll)
		},
		"a class of the name": change(t, theirs, func(g *gwapiv1.GatewayClass) { g.Labels = byOperator }),
	})
	stolenStatus(t)
}

// stolenStatus: a control plane writes its own part of a route's status and leaves the others'.
func stolenStatus(t *testing.T) {
	parent := func(controller, reason string) gwapiv1.RouteParentStatus {
		return gwapiv1.RouteParentStatus{
			ParentRef: gwapiv1.ParentReference{Name: "front"}, ControllerName: gwapiv1.GatewayController(controller),
			Conditions: []metav1.Condition{{Type: "Accepted", Status: metav1.ConditionTrue, Reason: reason, LastTransitionTime: metav1.Now()}},
		}
	}
	route := &gwapiv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "stolen-kinds", Name: "r"}}
	if err := admin.Create(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	route.Status.Parents = []gwapiv1.RouteParentStatus{parent("other.example/controller", "Good")}
	if err := admin.Status().Update(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	c := user(t, "system:serviceaccount:"+stolenHome+":"+controlPlane)
	write := func(parents ...gwapiv1.RouteParentStatus) error {
		after := route.DeepCopy()
		after.Status.Parents = parents
		return c.Status().Update(t.Context(), after, client.DryRunAll)
	}
	good := route.Status.Parents[0]
	for name, parents := range map[string][]gwapiv1.RouteParentStatus{
		"changed":  {parent("other.example/controller", "Bad")},
		"removed":  {parent(names.ControllerName, "Good")},
		"imitated": {good, parent("third.example/controller", "Good")},
	} {
		eventually(t, name, func() string {
			if err := write(parents...); err == nil || !strings.Contains(err.Error(), "with its own controller name") {
				return "status of another controller: " + errorText(err)
			}
			return ""
		})
	}
	if err := write(good, parent(names.ControllerName, "Good")); err != nil {
		t.Errorf("its own part: %v", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return "it is let through"
	}
	return err.Error()
}
