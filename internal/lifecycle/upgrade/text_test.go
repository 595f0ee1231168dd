// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
)

// TestTextsAreLines: what a status or an event has of a pod's own text is on one line.
func TestTextsAreLines(t *testing.T) {
	const forged = "bad\x1b[2J\n[ok] forged"
	status := &v1alpha1.UpgradeStatus{Message: forged, Difference: forged, Gates: []v1alpha1.GateResult{{Message: forged}}}
	d := Decision{Status: status, Events: []Event{{Message: forged}}}.asLines()
	for _, got := range []string{d.Status.Message, d.Status.Difference, d.Status.Gates[0].Message, d.Events[0].Message} {
		if got != "bad�[2J [ok] forged" {
			t.Errorf("%q", got)
		}
	}
	if status.Message != forged {
		t.Error("the status that was read is changed")
	}
	// Next does this to all that it returns.
	in := Input{Wanted: "0.3.0", Serving: "0.3.0", Image: func(v string) string { return "proxy:" + v }}
	in.Now = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	in.Status = &v1alpha1.UpgradeStatus{From: "0.2.0", To: "0.3.0", Phase: v1alpha1.PhaseCompleted, Message: forged}
	if got := Next(in).Status.Message; strings.ContainsAny(got, "\n\x1b") {
		t.Errorf("%q", got)
	}
}
