// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/cli/ports"
	"tulle.dev/tulle/internal/controlplane/model"
)

// TestCalls: every kind of object that makes the API server call a Service is read, with the defaults of
// its API.
func TestCalls(t *testing.T) {
	to := func(kind string, port uint16, fail bool) []ports.Call {
		return []ports.Call{{Kind: kind, Name: "a", Service: model.Key{Namespace: "db", Name: "webhook"}, Port: port, Fail: fail}}
	}
	object := func(text string) map[string]any {
		body, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var o map[string]any
		if err := json.Unmarshal(body, &o); err != nil { // numbers as a client reads them
			t.Fatal(err)
		}
		return o
	}
	port, ignore := int32(9443), admissionv1.Ignore
	conversion := []string{"spec", "conversion", "webhook", "clientConfig", "service"}
	for name, c := range map[string]struct{ want, got []ports.Call }{
		"a webhook":               {to("W", 443, true), admissionCall("W", "a", &admissionv1.ServiceReference{Namespace: "db", Name: "webhook"}, nil)},
		"a webhook that may fail": {to("W", 9443, false), admissionCall("W", "a", &admissionv1.ServiceReference{Namespace: "db", Name: "webhook", Port: &port}, &ignore)},
		"a webhook at a URL":      {nil, admissionCall("W", "a", nil, nil)},
		"a conversion": {to("C", 8443, true), callOf("C", "a", object(
			`{spec: {conversion: {strategy: Webhook, webhook: {clientConfig: {service: {namespace: db, name: webhook, port: 8443}}}}}}`), conversion...)},
		"no conversion":   {nil, callOf("C", "a", object(`{spec: {conversion: {strategy: None}}}`), conversion...)},
		"an API":          {to("A", 443, true), callOf("A", "a", object(`{spec: {service: {namespace: db, name: webhook}}}`), "spec", "service")},
		"an API built in": {nil, callOf("A", "a", object(`{spec: {service: null}}`), "spec", "service")},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// TestPages: every page is read.
func TestPages(t *testing.T) {
	next := map[string]string{"": "b", "b": "c", "c": ""}
	var seen []string
	list := func(_ context.Context, o metav1.ListOptions) (*corev1.PodList, error) {
		seen = append(seen, o.Continue)
		return &corev1.PodList{ListMeta: metav1.ListMeta{Continue: next[o.Continue]}}, nil
	}
	if err := each(t.Context(), list, metav1.ListOptions{}, func(*corev1.PodList) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"", "b", "c"}, seen); diff != "" {
		t.Error(diff)
	}
}
