// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
)

// TestExternalGateIsNeverSkipped: it is asked even when the proxies saw too little to judge by, and
// without its answer no wave ends.
func TestExternalGateIsNeverSkipped(t *testing.T) {
	for _, verdict := range []v1alpha1.GateVerdict{v1alpha1.GatePassed, v1alpha1.GateNoEvidence} {
		w := newWorld(t, 8, 4)
		w.verdict = func([]Seen, []Seen) (v1alpha1.GateVerdict, string) { return verdict, "3 requests" }
		w.spec.Gates.External = &v1alpha1.ExternalGate{URL: "http://check"}
		w.wanted = "0.3.0"
		w.until(v1alpha1.PhaseDataPlane)
		asked := false
		for range 300 {
			if d := w.operate(-1); d.Ask {
				asked = true
				break
			}
			w.pass(2 * time.Second)
		}
		if !asked || w.status.Wave != 1 {
			t.Fatalf("%s: not asked: %+v", verdict, w.status)
		}
		for _, c := range []struct {
			answer v1alpha1.GateVerdict
			wave   int32
			words  string
		}{
			{"", 1, "no answer from check"},
			{v1alpha1.GatePassed, 2, ""},
			{v1alpha1.GateNoEvidence, 2, ""},
		} {
			in := w.input()
			in.External, in.ExternalProblem = &v1alpha1.GateResult{Wave: 1, Result: c.answer, Message: "the answer"}, ""
			if c.answer == "" {
				in.External, in.ExternalProblem = nil, "no answer from check"
			}
			d := Next(in)
			if d.Status.Wave != c.wave || !strings.Contains(d.Status.Message, c.words) || c.answer == "" && (!d.Ask || len(d.Status.Gates) > 0) {
				t.Errorf("%s, then %q: %+v", verdict, c.answer, d.Status)
			}
		}
	}
}
