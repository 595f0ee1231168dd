// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
)

// TestVersionSteps: a change goes one minor away from what serves, not more; the refusal names the
// way. Nothing but a change of the version is ever held up. The message's numbers are looked up in a
// string, because the server can't bound the length of string(n) and would refuse the rule; beyond
// that string the message is the plain one.
func TestVersionSteps(t *testing.T) {
	for _, c := range []struct {
		name, serving, from, to string
		refusal                 string // part of it; empty: accepted
	}{
		{"nothing serves yet", "", "0.1.0", "7.3.1", ""},
		{"a patch", "0.1.0", "0.1.0", "0.1.7", ""},
		{"the next minor", "0.1.0", "0.1.0", "0.2.0", ""},
		{"back", "0.2.0", "0.2.0", "0.1.3", ""},
		{"a prerelease", "0.1.0", "0.1.0", "0.2.0-rc.1", ""},
		{"from a prerelease", "0.2.0-rc.1", "0.2.0-rc.1", "0.3.0-alpha", ""},
		{"ten is more than nine", "0.9.0", "0.9.0", "0.10.0", ""},
		{"back to what serves", "0.1.0", "0.2.0", "0.1.0", ""},
		{"two on", "0.1.0", "0.1.0", "0.3.0", "0.1.0 cannot go to 0.3.0 at once: set spec.version to 0.2.x, then go on one minor at a time to 0.3.0"},
		{"two on from what serves, one from what is asked for", "0.1.0", "0.2.0", "0.3.0", "set spec.version to 0.2.x, then go on one minor at a time to 0.3.0"},
		{"three on", "0.1.2", "0.1.2", "0.4.0-rc.1", "set spec.version to 0.2.x, then go on one minor at a time to 0.4.0-rc.1"},
		{"three back", "2.14.0", "2.14.0", "2.11.0", "set spec.version to 2.13.x, then go on one minor at a time to 2.11.0"},
		{"in the far future", "0.60.0", "0.60.0", "0.70.0", "write a version that is at most one minor away from status.version"},
		{"a major", "0.2.0", "0.2.0", "1.2.0", "no way from one major version to another"},
		{"nonsense is told as such", "0.1.0", "0.1.0", "two", "write a release such as"},
		{"too large a number", "0.1.0", "0.1.0", "0.99999999999999999999.0", ""},
		{"what serves is unknown", "dev", "0.1.0", "7.0.0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t, "steps", func(m *v1alpha1.Mesh) { m.Spec.Version = c.from })
			if c.serving != "" {
				m.Status.Version = c.serving
				if err := admin.Status().Update(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			m.Spec.Version = c.to
			err := admin.Update(t.Context(), m, client.FieldValidation("Strict"))
			if c.refusal == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)) {
				t.Errorf("want a refusal with %q, got: %v", c.refusal, err)
			}
		})
	}
	t.Run("all else goes on", func(t *testing.T) {
		m := newMesh(t, "steps", func(m *v1alpha1.Mesh) { m.Spec.Version = "0.9.0" })
		m.Status.Version = "0.1.0"
		if err := admin.Status().Update(t.Context(), m); err != nil {
			t.Errorf("status: %v", err)
		}
		m.Spec.MTLS.Mode = v1alpha1.MTLSStrict
		m.Finalizers = []string{"tulle.dev/test"}
		if err := admin.Update(t.Context(), m); err != nil {
			t.Errorf("spec: %v", err)
		}
		m.Finalizers = nil
		if err := admin.Update(t.Context(), m); err != nil {
			t.Errorf("finalizer: %v", err)
		}
	})
}
