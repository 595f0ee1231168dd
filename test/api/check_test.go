// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/check"
	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// TestCheckReads: `tulle check` finds, in what a real API server answers, a port that is carried as bytes and
// a webhook that mode Strict closes. A user who may read nothing gets findings and no error.
func TestCheckReads(t *testing.T) {
	newMesh(t, "checked", func(m *v1alpha1.Mesh) { m.Spec.MTLS.Mode = v1alpha1.MTLSPermissive })
	namespace(t, "checked", map[string]string{names.LabelInject: names.InjectEnabled})
	injected, err := json.Marshal(protocol.Injected{Version: "0.3.0", ExcludedInboundPorts: []uint16{9999}})
	if err != nil {
		t.Fatal(err)
	}
	web := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "checked", Name: "web", Labels: map[string]string{names.LabelProxy: names.KindSidecar},
			Annotations: map[string]string{names.AnnotationInjected: string(injected)},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1"}}},
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "checked", Name: "web"},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
			{Name: "https-webhook", Port: 8443}, {Name: "api", Port: 80}, {Name: "http-api", Port: 81}, {Name: "outside", Port: 82},
		}},
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "checked", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{"198.18.7.7"}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "checked", Name: "web"},
		}},
		Ports: []discoveryv1.EndpointPort{
			{Name: ptr("https-webhook"), Port: ptr(int32(9443))},
			{Name: ptr("api"), Port: ptr(int32(8080))},
			{Name: ptr("http-api"), Port: ptr(int32(8081))},
			{Name: ptr("outside"), Port: ptr(int32(9999))},
		},
	}
	hook := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "checked"},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "checked.tulle.dev", AdmissionReviewVersions: []string{"v1"}, SideEffects: ptr(admissionv1.SideEffectClassNone),
			ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "checked", Name: "web", Port: ptr(int32(8443))}},
			Rules: []admissionv1.RuleWithOperations{{ // of a kind that nobody has
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{"nothing.tulle.dev"}, APIVersions: []string{"v1"}, Resources: []string{"nothings"}},
			}},
		}},
	}
	for _, o := range []client.Object{web, service, slice, hook} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Delete(context.Background(), o, client.GracePeriodSeconds(0)) }) // the test's own context has ended
	}
	web.Status.PodIP, web.Status.PodIPs = "198.18.7.7", []corev1.PodIP{{IP: "198.18.7.7"}}
	if err := admin.Status().Update(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	notices := func() (out []string) {
		c, err := cluster.New(server.Config, "default", "")
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, finding := range check.All(f) {
			if finding.Section == check.SectionPorts && finding.Level != check.OK {
				out = append(out, string(finding.Level)+": "+finding.Message+" -> "+finding.Fix)
			}
		}
		return out
	}
	got := notices()
	for _, want := range []string{
		"notice: ValidatingWebhookConfiguration checked would be closed by mode Strict, and what it is asked about fails: the API server, which has no proxy, calls Service checked/web, port 8443, and with it port 9443 of checked/web",
		`tulle.dev/exclude-inbound-ports: "9443,9999"`,
		"notice: namespace checked: 1 port is carried as bytes, because nothing declares a protocol: web:80 (api)",
	} {
		if !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, want) }) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if len(got) != 2 {
		t.Errorf("%d findings: %q", len(got), got)
	}

	c, err := cluster.New(as("someone"), "default", "")
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Observe(t.Context())
	if err != nil {
		t.Fatalf("without rights: %v", err)
	}
	for _, finding := range check.All(f) {
		if finding.Level == check.Problem && finding.Section != check.SectionPermissions || strings.Contains(finding.Message, "\n") {
			t.Errorf("without rights: %+v", finding)
		}
	}
	if len(f.Unread) < 5 {
		t.Errorf("what could not be read: %+v", f.Unread)
	}
}
