// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
)

// TestEventNames: the same thing told twice is one event, and the same words about something else another.
func TestEventNames(t *testing.T) {
	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle", UID: "u", Generation: 3}}
	m.Status.Upgrade = &v1alpha1.UpgradeStatus{Phase: v1alpha1.PhaseShadow, Started: metav1.Unix(100, 0)}
	e := upgrade.Event{Reason: "UpgradePhase", Message: "x"}
	name := func(m *v1alpha1.Mesh, e upgrade.Event, at int64) string { return eventOf(m, e, time.Unix(at, 0)).Name }
	first := name(m, e, 1)
	later := m.DeepCopy()
	later.ResourceVersion, later.Status.Upgrade.Message, later.Annotations = "7", "waits", map[string]string{"a": "b"}
	if name(later, e, 9) != first {
		t.Error("the round done again tells it again")
	}
	for what, change := range map[string]func(*v1alpha1.Mesh, *upgrade.Event){
		"another reason":     func(_ *v1alpha1.Mesh, e *upgrade.Event) { e.Reason = "RolledBack" },
		"another message":    func(_ *v1alpha1.Mesh, e *upgrade.Event) { e.Message = "y" },
		"another phase":      func(m *v1alpha1.Mesh, _ *upgrade.Event) { m.Status.Upgrade.Phase = v1alpha1.PhaseDataPlane },
		"another upgrade":    func(m *v1alpha1.Mesh, _ *upgrade.Event) { m.Status.Upgrade.Started = metav1.Unix(101, 0) },
		"another wave":       func(m *v1alpha1.Mesh, _ *upgrade.Event) { m.Status.Upgrade.Wave = 2 },
		"another Mesh":       func(m *v1alpha1.Mesh, _ *upgrade.Event) { m.UID = "v" },
		"another generation": func(m *v1alpha1.Mesh, _ *upgrade.Event) { m.Generation = 4 },
		"another rotation": func(m *v1alpha1.Mesh, _ *upgrade.Event) {
			m.Status.Certificates = &v1alpha1.CertificatesStatus{Started: metav1.Unix(5, 0)}
		},
	} {
		n, f := m.DeepCopy(), e
		change(n, &f)
		if name(n, f, 1) == first {
			t.Errorf("%s: the same event", what)
		}
	}
	e.Message = strings.Repeat("é", 600)
	if note := eventOf(m, e, time.Unix(1, 0)).Note; len(note) > maxNote || !strings.HasPrefix(note, "éé") || strings.ToValidUTF8(note, "?") != note {
		t.Errorf("%d bytes: %q", len(note), note)
	}
}

// TestTurns: what is told of conditions is their turns, and of a new Mesh that it is not Ready yet is none.
func TestTurns(t *testing.T) {
	c := func(kind, status, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: kind, Status: metav1.ConditionStatus(status), Reason: reason, Message: "m"}}
	}
	event := func(warning bool, reason string) []upgrade.Event {
		return []upgrade.Event{{Warning: warning, Reason: reason, Message: "m"}}
	}
	for name, x := range map[string]struct {
		was, is []metav1.Condition
		want    []upgrade.Event
	}{
		"new":                   {nil, c("Ready", "False", "RollingOut"), nil},
		"Ready at once":         {nil, c("Ready", "True", "Ready"), event(false, "Ready")},
		"Ready":                 {c("Ready", "False", "RollingOut"), c("Ready", "True", "Ready"), event(false, "Ready")},
		"Ready no more":         {c("Ready", "True", "Ready"), c("Ready", "False", "Unavailable"), event(true, "NotReady")},
		"taken down":            {c("Ready", "True", "Ready"), c("Ready", "False", "Deleting"), event(false, "Deleting")},
		"Ready as before":       {c("Ready", "True", "Ready"), c("Ready", "True", "Ready"), nil},
		"for another reason":    {c("Ready", "False", "RollingOut"), c("Ready", "False", "Unavailable"), nil},
		"a second Mesh":         {nil, c("Conflicted", "True", "OlderMesh"), event(true, "OlderMesh")},
		"what is not told here": {c("Valid", "True", "Valid"), c("Valid", "False", "UnknownVersion"), nil},
	} {
		if d := cmp.Diff(x.want, turns(x.was, x.is)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
