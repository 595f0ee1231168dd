// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// TestRotation is the table of what can be asked for, and what is refused.
func TestRotation(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	under := func(phase v1alpha1.RotationPhase, trigger v1alpha1.RotationTrigger) *v1alpha1.CertificatesStatus {
		return &v1alpha1.CertificatesStatus{Phase: phase, Trigger: trigger, Request: "1"}
	}
	for name, c := range map[string]struct {
		ref     bool
		asked   string
		left    string // value of the other annotation now
		st      *v1alpha1.CertificatesStatus
		abort   bool
		without []string
		value   string
		leaves  string // value of the other annotation
		refused string
	}{
		"first":                  {value: "2026-05-01T12:00:00Z"},
		"without a pod":          {without: []string{"shop/web-0", "shop/web-1"}, value: "2026-05-01T12:00:00Z", leaves: "shop/web-0,shop/web-1"},
		"without a whole one":    {without: []string{"shop/*"}, value: "2026-05-01T12:00:00Z", leaves: "shop/*"},
		"without one more":       {asked: "1", left: "shop/b", st: under(v1alpha1.RotationDistributing, v1alpha1.TriggerExpiring), without: []string{"shop/a", "shop/b"}, leaves: "shop/a,shop/b"},
		"without a namespace":    {without: []string{"web-0"}, refused: "expected NAMESPACE/POD"},
		"without two in one":     {without: []string{"a/b,c/d"}, refused: "expected NAMESPACE/POD"},
		"without, and call off":  {without: []string{"a/b"}, abort: true, refused: "exclude each other"},
		"again":                  {asked: "1", st: under(v1alpha1.RotationCompleted, v1alpha1.TriggerRequested), value: "2026-05-01T12:00:00Z"},
		"under way":              {asked: "1", st: under(v1alpha1.RotationSigning, v1alpha1.TriggerRequested), refused: "already"},
		"an issuer's":            {ref: true, refused: "ClusterIssuer corp"},
		"call off":               {asked: "1", st: under(v1alpha1.RotationSigning, v1alpha1.TriggerRequested), abort: true},
		"call off at once":       {asked: "2", st: under(v1alpha1.RotationCompleted, v1alpha1.TriggerRequested), abort: true},
		"call off nothing":       {asked: "1", st: under(v1alpha1.RotationCompleted, v1alpha1.TriggerRequested), abort: true, refused: "not being changed"},
		"call off too late":      {asked: "1", st: under(v1alpha1.RotationRetiring, v1alpha1.TriggerRequested), abort: true, refused: "too late"},
		"call off another's":     {st: under(v1alpha1.RotationSigning, v1alpha1.TriggerExpiring), abort: true, refused: "Expiring"},
		"call off what is never": {abort: true, refused: "not being changed"},
	} {
		t.Run(name, func(t *testing.T) {
			var m v1alpha1.Mesh
			if c.ref {
				m.Spec.Certificates.IssuerRef = &v1alpha1.IssuerRef{Kind: "ClusterIssuer", Name: "corp"}
			}
			if c.asked != "" {
				m.Annotations = map[string]string{names.AnnotationRotateRoot: c.asked}
			}
			if c.left != "" {
				m.Annotations[names.AnnotationRotateWithout] = c.left
			}
			m.Status.Certificates = c.st
			change, says, err := rotation(m, c.abort, c.without, at)
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("got %v, want a refusal with %q", err, c.refused)
				}
				return
			}
			text := func(annotation string) string { s, _ := change[annotation].(string); return s }
			if err != nil || text(names.AnnotationRotateRoot) != c.value || text(names.AnnotationRotateWithout) != c.leaves || says == "" {
				t.Errorf("got %v, %q, %v", change, says, err)
			}
			// A change that begins or is called off does not keep pods of the one before; one under way stays asked for.
			if _, touched := change[names.AnnotationRotateRoot]; touched == c.st.Active() && len(c.without) > 0 {
				t.Errorf("asks anew: %v", change)
			}
		})
	}
}

// TestPrintRoots: what a person sees in the middle of it.
func TestPrintRoots(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	v := caView{
		Roots: []v1alpha1.RootStatus{{SHA256: "0123456789abcdef", NotAfter: at, Active: true}, {SHA256: "ff", NotAfter: at}},
		Last: &v1alpha1.CertificatesStatus{
			Phase: v1alpha1.RotationDistributing, Since: at, Trigger: v1alpha1.TriggerRequested, Done: 3, Proxies: 4,
			OldRoot: "0123456789abcdef", NewRoot: "ff", Message: "waiting for proxies to accept the roots: shop/cart-1",
		},
	}
	var out bytes.Buffer
	if err := printRoots(&out, v, at.Add(90*time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0123456789ab  yes", "Distributing", "90s", "3/4", "waiting for proxies to accept the roots: shop/cart-1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if v.ended() || !(caView{}).ended() || (caView{Pending: true}).ended() {
		t.Error("ended is wrong")
	}
}
