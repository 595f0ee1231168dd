// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestDefaultIssuerKind: a Mesh that was written when issuerRef.kind was ClusterIssuer by default keeps it
// when the definition is replaced, also if the same manifest is applied again or something else is patched.
// One that is created afterwards names an Issuer.
func TestDefaultIssuerKind(t *testing.T) {
	replace := oldDefinition(t, func(schema map[string]any) {
		if err := unstructured.SetNestedField(schema, "ClusterIssuer", "properties", "spec", "properties", "certificates", "properties", "issuerRef", "properties", "kind", "default"); err != nil {
			t.Fatal(err)
		}
	})

	manifest := func(name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "tulle.dev/v1alpha1", "kind": "Mesh", "metadata": map[string]any{"name": name},
			"spec": map[string]any{"version": "0.3.0", "certificates": map[string]any{"issuerRef": map[string]any{"name": "company"}}},
		}}
	}
	apply := func(m *unstructured.Unstructured, more ...client.PatchOption) string {
		t.Helper()
		if err := admin.Patch(t.Context(), m, client.Apply, append(more, client.FieldOwner("gitops"))...); err != nil { //nolint:staticcheck // as a user's tool does it
			t.Fatal(err)
		}
		kind, _, _ := unstructured.NestedString(m.Object, "spec", "certificates", "issuerRef", "kind")
		return kind
	}
	eventually(t, "the API server goes by the old definition", func() string {
		if kind := apply(manifest("probe"), client.DryRunAll); kind != "ClusterIssuer" {
			return kind
		}
		return ""
	})
	for _, name := range []string{"applied", "created"} {
		m := manifest(name)
		t.Cleanup(func() { _ = admin.Delete(context.Background(), m) })
		if name == "applied" {
			apply(m)
		} else if err := admin.Create(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	replace()
	eventually(t, "the API server goes by the new definition", func() string {
		if kind := apply(manifest("probe"), client.DryRunAll); kind != "Issuer" {
			return kind
		}
		return ""
	})
	for _, name := range []string{"applied", "created"} {
		kindOf := func(what string) {
			t.Helper()
			m := manifest(name)
			if err := admin.Get(t.Context(), client.ObjectKeyFromObject(m), m); err != nil {
				t.Fatal(err)
			}
			if kind, _, _ := unstructured.NestedString(m.Object, "spec", "certificates", "issuerRef", "kind"); kind != "ClusterIssuer" {
				t.Errorf("Mesh %s, %s: the kind is %q", name, what, kind)
			}
		}
		kindOf("as it was stored")
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"certificates":{"issuerRef":{"name":"company"},"workloadLifetime":"12h"}}}`))
		if err := admin.Patch(t.Context(), manifest(name), patch); err != nil {
			t.Fatal(err)
		}
		kindOf("patched")
		if name == "applied" {
			apply(manifest(name), client.ForceOwnership)
			kindOf("applied again")
		}
	}
}

// warnings keeps what the API server warns of.
type warnings struct {
	mu   sync.Mutex
	said []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

// TestSharedIssuerWarning: the API server warns whoever writes a Mesh with a ClusterIssuer, and of no other.
func TestSharedIssuerWarning(t *testing.T) {
	w := &warnings{}
	config := rest.CopyConfig(server.Config)
	config.WarningHandler = w
	user, err := client.New(config, client.Options{Scheme: admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	write := func(ref map[string]any) []string {
		t.Helper()
		w.said = nil
		m := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "tulle.dev/v1alpha1", "kind": "Mesh", "metadata": map[string]any{"name": "warned"},
			"spec": map[string]any{"version": "0.3.0", "certificates": map[string]any{}},
		}}
		if ref != nil {
			m.Object["spec"].(map[string]any)["certificates"] = map[string]any{"issuerRef": ref}
		}
		if err := user.Create(t.Context(), m, client.DryRunAll); err != nil {
			t.Fatal(err)
		}
		return w.said
	}
	// A policy works some time after it was made.
	eventually(t, "a warning of the ClusterIssuer", func() string {
		if said := write(map[string]any{"name": "company", "kind": "ClusterIssuer"}); len(said) != 1 || !strings.Contains(said[0], "an Issuer in the operator's namespace") {
			return strings.Join(said, "; ") + " was said"
		}
		return ""
	})
	for _, ref := range []map[string]any{nil, {"name": "company"}, {"name": "company", "kind": "Issuer"}} {
		if said := write(ref); len(said) > 0 {
			t.Errorf("%v: %v", ref, said)
		}
	}
}
