// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwapixv1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/names"
)

// TestOperator is the life of a mesh, from a cluster that has nothing to one that has nothing left.
// Its parts build on each other and run in order.
func TestOperator(t *testing.T) {
	t.Cleanup(func() {
		uninstall(t, "sigs.k8s.io/gateway-api", "config/crd/experimental")
		uninstall(t, "github.com/cert-manager/cert-manager", "deploy/crds")
	})
	stop := startOperator(t)
	// restart ends the operator, lets something happen, and starts another one.
	restart := func(part *testing.T) {
		stop()
		for _, o := range owned() {
			if err := admin.Delete(part.Context(), o); err != nil {
				part.Fatal(err)
			}
		}
		stop = startOperator(t)
		for _, o := range owned() {
			there(part, o)
		}
		serve(part, system, controlPlane, 2)
		condition(part, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
	newMesh(t, "tulle", nil)
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"missing kinds are told, with the command, and heal", missingKinds},
		{"install", installs},
		{"status of the Gateway API's own kinds", classes},
		{"conditions of other controllers stay", foreignConditions},
		{"what is deleted comes back", deletedComesBack},
		{"what is edited is put right, other people's fields stay", editedIsPutRight},
		{"an object of others is not adopted, unless it is handed over", nameTaken},
		{"labels prove nothing in another namespace", labelsProveNothing},
		{"what happens while the operator is away is repaired", restart},
		{"roots are spread to meshed namespaces", rootsSpread},
		{"roots that cannot be written are created again, or named", rootsRefused},
		{"what admission of the cluster adds is named, with what allows it", additionNamed},
		{"the right to read Secrets and ConfigMaps follows what refers to them", secretsOnDemand},
		{"a stolen token writes nothing of others", stolenKinds},
		{"a Gateway gets its proxies", gatewayGetsProxies},
		{"a Gateway of any legal name", gatewayNames},
		{"objects of others are left alone", gatewayNameTaken},
		{"a refused Gateway runs nothing new", gatewayRefused},
		{"who scales a Gateway decides how many proxies it has", gatewayScaled},
		{"fields of a Gateway's Service that others set stay", gatewayService},
		{"a Gateway that goes to another class keeps nothing", gatewayLeaves},
		{"with the webhook dead, only pods that ask for a proxy wait", deadWebhook},
		{"replicas are set between bounds, and nobody else sets them", replicasAreSet},
		{"proxies are counted", proxiesCounted},
		{"pods without a proxy are counted, and evicted if so wished", podsWithoutProxy},
		{"the preflight stops an upgrade that can't end", preflightStops},
		{"an upgrade tells each phase as an event, once", upgradeIsTold},
		{"unknown version changes nothing", unknownVersion},
		{"requests from any address are reported", anyAddress},
		{"second Mesh", secondMesh},
		{"issuers that are wrong", wrongIssuers},
		{"deletion waits for users", deletionWaits},
		{"forced deletion leaves nothing", deletionLeavesNothing},
		{"install again", installsAgain},
		{"deletion without cert-manager and Gateway API", deletionWithoutKinds},
	} {
		if !t.Run(part.name, part.run) {
			return
		}
	}
}

func missingKinds(t *testing.T) {
	c := condition(t, "tulle", v1alpha1.ConditionValid, metav1.ConditionFalse, v1alpha1.ReasonCertManagerMissing)
	if !strings.Contains(c.Message, plan.InstallCertManager) {
		t.Errorf("no command in %q", c.Message)
	}
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonCertManagerMissing)
	installCertManager(t)
	c = condition(t, "tulle", v1alpha1.ConditionValid, metav1.ConditionFalse, v1alpha1.ReasonGatewayAPIMissing)
	if !strings.Contains(c.Message, plan.InstallGatewayAPI) {
		t.Errorf("no command in %q", c.Message)
	}
	installGatewayAPI(t)
	condition(t, "tulle", v1alpha1.ConditionValid, metav1.ConditionTrue, v1alpha1.ReasonValid)
}

func installs(t *testing.T) {
	condition(t, "tulle", v1alpha1.ConditionCertificatesReady, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCertManager)
	condition(t, "tulle", v1alpha1.ConditionControlPlaneReady, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCertificates)
	stop := startCertManager(t, true)
	condition(t, "tulle", v1alpha1.ConditionCertificatesReady, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	stop()
	condition(t, "tulle", v1alpha1.ConditionControlPlaneReady, metav1.ConditionFalse, v1alpha1.ReasonRollingOut)
	condition(t, "tulle", v1alpha1.ConditionInjectionReady, metav1.ConditionFalse, v1alpha1.ReasonWaitingForControlPlane)

	serve(t, system, controlPlane, 1)
	condition(t, "tulle", v1alpha1.ConditionControlPlaneReady, metav1.ConditionTrue, v1alpha1.ReasonDegraded)
	serve(t, system, controlPlane, 2)
	condition(t, "tulle", v1alpha1.ConditionControlPlaneReady, metav1.ConditionTrue, v1alpha1.ReasonServing)
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
	there(t, m)
	if m.Status.Version != release.Current || m.Status.ControlPlane == nil || m.Status.ControlPlane.ReadyReplicas != 2 ||
		m.Status.RootCertificateExpiry == nil || len(m.Status.Roots) != 1 || !m.Status.Roots[0].Active {
		t.Errorf("status: %+v", m.Status)
	}
	// The webhook trusts the mesh's intermediates, and leads to the Service.
	hook := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: controlPlane}}
	there(t, hook)
	trust := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "tulle-trust"}}
	there(t, trust)
	for _, w := range hook.Webhooks {
		if !strings.HasPrefix(string(w.ClientConfig.CABundle), trust.Data["intermediates.pem"]) || certificates(trust.Data["intermediates.pem"]) != 1 {
			t.Errorf("webhook %s does not trust the intermediate alone", w.Name)
		}
	}
}

func classes(t *testing.T) {
	class := &gwapiv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
	eventually(t, "GatewayClass accepted", func() string {
		there(t, class)
		if s := states(class.Status.Conditions); s["Accepted"] != "True" || s["SupportedVersion"] != "True" || len(class.Status.SupportedFeatures) == 0 {
			return cmp.Diff(nil, class.Status)
		}
		return ""
	})
	x := &gwapixv1.XMesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
	eventually(t, "XMesh accepted", func() string {
		there(t, x)
		if s := states(x.Status.Conditions); s["Accepted"] != "True" || len(x.Status.SupportedFeatures) == 0 {
			return cmp.Diff(nil, x.Status)
		}
		return ""
	})
	// Its spec is nobody's but its maker's: a description stays, a wrong reference is told.
	update(t, x, func() {
		x.Spec.Description = ptr("ours")
		x.Spec.ParametersRef = &gwapiv1.ParametersReference{Group: "a", Kind: "B", Name: "c"}
	})
	eventually(t, "XMesh with wrong parameters", func() string {
		there(t, x)
		if states(x.Status.Conditions)["Accepted"] != "False" || *x.Spec.Description != "ours" {
			return cmp.Diff(nil, x)
		}
		return ""
	})
	update(t, x, func() { x.Spec.ParametersRef = nil })
}

func states(list []metav1.Condition) map[string]string {
	out := map[string]string{}
	for _, c := range list {
		out[c.Type] = string(c.Status)
	}
	return out
}

// owned is one object of each kind that a mesh is made of.
func owned() []client.Object {
	in := metav1.ObjectMeta{Namespace: system, Name: controlPlane}
	out := metav1.ObjectMeta{Name: controlPlane}
	return []client.Object{
		&appsv1.Deployment{ObjectMeta: in}, &corev1.ServiceAccount{ObjectMeta: in}, &policyv1.PodDisruptionBudget{ObjectMeta: in},
		&rbacv1.Role{ObjectMeta: in}, &rbacv1.RoleBinding{ObjectMeta: in},
		&rbacv1.ClusterRole{ObjectMeta: out}, &rbacv1.ClusterRoleBinding{ObjectMeta: out},
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: out},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "tulle-controlplane"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "tulle-trust"}},
		&gwapiv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}},
	}
}

func deletedComesBack(t *testing.T) {
	for _, o := range owned() {
		there(t, o)
		uid := o.GetUID()
		if err := admin.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		eventually(t, o.GetName()+" is back", func() string {
			if err := admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				return err.Error()
			}
			if o.GetUID() == uid {
				return "it is the old one"
			}
			return ""
		})
	}
	serve(t, system, controlPlane, 2)
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func editedIsPutRight(t *testing.T) {
	hook := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: controlPlane}}
	update(t, hook, func() {
		hook.Webhooks[0].ClientConfig.CABundle = []byte("nonsense")
		hook.Webhooks[0].FailurePolicy = ptr(admissionv1.Ignore)
		hook.Annotations = map[string]string{"example.com/note": "mine"}
	})
	eventually(t, "webhook", func() string {
		there(t, hook)
		if *hook.Webhooks[0].FailurePolicy != admissionv1.Fail || len(hook.Webhooks[0].ClientConfig.CABundle) < 100 {
			return "not put right"
		}
		return ""
	})
	if hook.Annotations["example.com/note"] != "mine" {
		t.Error("somebody else's annotation is gone from the webhook")
	}
	if m := managers(hook); !slices.Equal(m, []string{"api.test", "tulle"}) {
		t.Errorf("fields are owned by %v; want them to be Tulle's and this test's", m)
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: controlPlane}}
	update(t, d, func() {
		d.Spec.Template.Spec.Containers[0].Image = "evil"
		d.Spec.Template.Annotations = map[string]string{"kubectl.kubernetes.io/restartedAt": "now"}
		d.Spec.Replicas = ptr(int32(7))
		delete(d.Labels, "tulle.dev/mesh")
	})
	eventually(t, "Deployment", func() string {
		there(t, d)
		if d.Spec.Template.Spec.Containers[0].Image != "tulle.test/tulle:1" || *d.Spec.Replicas != 2 || d.Labels["tulle.dev/mesh"] != "tulle" {
			return "not put right"
		}
		return ""
	})
	if d.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] != "now" {
		t.Error("a restart that somebody asked for was undone")
	}
	// A root that somebody slips in is not trusted for long.
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "tulle-trust"}}
	there(t, cm)
	good := cm.Data["ca.crt"]
	update(t, cm, func() { cm.Data["ca.crt"] += strangeRoot(t) })
	eventually(t, "trust", func() string {
		there(t, cm)
		if cm.Data["ca.crt"] != good {
			return "the strange root is there"
		}
		return ""
	})
	serve(t, system, controlPlane, 2)
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// nameTaken: an object that the operator did not create is left as it is, the Mesh says so, and how to hand
// it over.
func nameTaken(t *testing.T) {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: controlPlane}}
	update(t, role, func() {
		delete(role.Labels, names.LabelManagedBy)
		role.Rules = role.Rules[:1]
	})
	c := condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNameTaken)
	for _, words := range []string{"ClusterRole " + controlPlane, "already exists", names.LabelManagedBy + "=" + names.Operator} {
		if !strings.Contains(c.Message, words) {
			t.Errorf("%q is not in %q", words, c.Message)
		}
	}
	there(t, role)
	if len(role.Rules) != 1 || role.Labels[names.LabelManagedBy] != "" {
		t.Errorf("the role has changed: %v, %v", role.Labels, role.Rules)
	}
	update(t, role, func() { role.Labels[names.LabelManagedBy] = names.Operator })
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	there(t, role)
	if len(role.Rules) < 2 {
		t.Errorf("the role was handed over, and is %v", role.Rules)
	}
}

// labelsProveNothing: an object of a tenant with the mesh's labels is not deleted, and does not keep the operator from
// deleting what is the mesh's own and no longer needed.
func labelsProveNothing(t *testing.T) {
	namespace(t, "imitates", nil)
	labels := map[string]string{names.LabelManagedBy: names.Operator, names.LabelMesh: "tulle", names.LabelRevision: "0-0-9"}
	meta := func(ns, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: ns, Name: name, Labels: labels}
	}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "x"}}},
	}
	theirs := []client.Object{
		&appsv1.Deployment{ObjectMeta: meta("imitates", "tulle-controlplane-0-0-9"), Spec: appsv1.DeploymentSpec{
			Replicas: ptr(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template,
		}},
		&corev1.ServiceAccount{ObjectMeta: meta("imitates", "tulle-controlplane-0-0-9")},
		&corev1.Service{ObjectMeta: meta("imitates", names.ControlPlaneService), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}},
		&policyv1.PodDisruptionBudget{ObjectMeta: meta("imitates", "tulle-controlplane-0-0-9"), Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: template.Labels},
		}},
	}
	for _, o := range theirs {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	ours := &corev1.ServiceAccount{ObjectMeta: meta(system, "tulle-controlplane-0-0-9")} // of a release that has gone
	if err := admin.Create(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	gone(t, ours)
	for _, o := range theirs {
		there(t, o)
		if err := admin.Delete(t.Context(), o); err != nil {
			t.Error(err)
		}
	}
}

// replicasAreSet: the operator sets the number, whatever somebody else writes, 0 in particular.
func replicasAreSet(t *testing.T) {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: controlPlane}}
	replicas := func(want int32) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d replicas", want), func() string {
			there(t, d)
			if *d.Spec.Replicas != want {
				return fmt.Sprint(*d.Spec.Replicas)
			}
			return ""
		})
	}
	update(t, d, func() { d.Spec.Replicas = ptr(int32(0)) })
	replicas(2)
	edit(t, "tulle", func(m *v1alpha1.Mesh) {
		m.Spec.ControlPlane.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: 3, MaxReplicas: 5}
	})
	replicas(3)
	eventually(t, "status of autoscaling", func() string {
		m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
		there(t, m)
		if s := m.Status.ControlPlane; s == nil || s.Autoscaling == nil || s.Autoscaling.Replicas != 3 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	update(t, d, func() { d.Spec.Replicas = ptr(int32(0)) })
	replicas(3)
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.ControlPlane.Autoscaling = nil })
	replicas(2)
	serve(t, system, controlPlane, 2)
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func proxiesCounted(t *testing.T) {
	namespace(t, "counted", nil)
	a := pod(t, "counted", "a", map[string]string{"tulle.dev/proxy": "sidecar", "tulle.dev/version": release.Current})
	pod(t, "counted", "b", map[string]string{"tulle.dev/proxy": "sidecar", "tulle.dev/version": "0.0.9"})
	pod(t, "counted", "c", nil)
	count := func(want string) {
		t.Helper()
		eventually(t, "proxies "+want, func() string {
			m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
			there(t, m)
			if m.Status.Proxies == nil || m.Status.Proxies.Summary != want {
				return cmp.Diff(nil, m.Status.Proxies)
			}
			return ""
		})
	}
	count("1/2")
	a.Status.Phase = corev1.PodSucceeded
	if err := admin.Status().Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	count("0/1")
}

func unknownVersion(t *testing.T) {
	before := deploymentVersion(t)
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Version = "0.3.99" })
	c := condition(t, "tulle", v1alpha1.ConditionValid, metav1.ConditionFalse, v1alpha1.ReasonUnknownVersion)
	if !strings.Contains(c.Message, release.Current) || !strings.Contains(c.Message, "0.3.99") {
		t.Errorf("message %q must name the version and list those that are known", c.Message)
	}
	// What runs goes on, and is still kept in repair.
	condition(t, "tulle", v1alpha1.ConditionControlPlaneReady, metav1.ConditionTrue, v1alpha1.ReasonServing)
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: controlPlane}}
	there(t, sa)
	if err := admin.Delete(t.Context(), sa); err != nil {
		t.Fatal(err)
	}
	there(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: controlPlane}})
	if got := deploymentVersion(t); got != before {
		t.Errorf("the Deployment was touched: %s, %s", before, got)
	}
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Version = release.Current })
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func anyAddress(t *testing.T) {
	before := deploymentVersion(t)
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.ControlPlane.SourceAddressCheck = v1alpha1.SourceAddressCheckDisabled })
	c := condition(t, "tulle", v1alpha1.ConditionControlPlaneReady, metav1.ConditionTrue, v1alpha1.ReasonSourceAddressCheckDisabled)
	if !strings.Contains(c.Message, "can be used from any address") {
		t.Errorf("message %q does not say what is lost", c.Message)
	}
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.ControlPlane.SourceAddressCheck = v1alpha1.SourceAddressCheckEnabled })
	condition(t, "tulle", v1alpha1.ConditionControlPlaneReady, metav1.ConditionTrue, v1alpha1.ReasonServing)
	if got := deploymentVersion(t); got != before {
		t.Errorf("the Deployment was touched: %s, %s", before, got)
	}
}

func deploymentVersion(t *testing.T) string {
	t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: controlPlane}}
	there(t, d)
	return d.ResourceVersion
}

func secondMesh(t *testing.T) {
	newMesh(t, "another", nil)
	c := condition(t, "another", v1alpha1.ConditionConflicted, metav1.ConditionTrue, v1alpha1.ReasonOlderMesh)
	if !strings.Contains(c.Message, "Mesh tulle is older") {
		t.Error(c.Message)
	}
	condition(t, "another", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonOlderMesh)
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "another"}}
	there(t, m)
	if len(m.Finalizers) > 0 {
		t.Errorf("a Mesh that made nothing has finalizers %v", m.Finalizers)
	}
	if err := admin.Delete(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	gone(t, m)
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// strangeRoot is a certificate of nobody's.
func strangeRoot(t *testing.T) string {
	t.Helper()
	return selfSigned(t, "strange", false, -1)
}

func ptr[T any](v T) *T { return &v }

// managers are those who own fields of an object.
func managers(o client.Object) []string {
	var out []string
	for _, f := range o.GetManagedFields() {
		out = append(out, f.Manager)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
