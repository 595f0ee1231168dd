// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/gate"
	"tulle.dev/tulle/internal/lifecycle/plan"
)

// TestExternalGateIsNotPestered: rounds two seconds apart ask once in fifteen seconds, and get the same
// answer in between; another wave, or another question, is asked at once.
func TestExternalGateIsNotPestered(t *testing.T) {
	asked := map[string]int{}
	says := `{"status":"success","data":{"resultType":"vector","result":[]}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Query().Get("query")]++
		_, _ = w.Write([]byte(says)) // the test sees what it lacks
	}))
	defer server.Close()
	now := time.Unix(1000, 0)
	r := &Reconciler{External: gate.NewExternal(), Now: func() time.Time { return now }}
	m := &v1alpha1.Mesh{}
	m.Spec.Upgrade.Soak.Duration = time.Minute
	m.Spec.Upgrade.Gates.External = &v1alpha1.ExternalGate{URL: server.URL, Query: "a", Max: "1"}
	done := metav1.NewTime(now)
	m.Status.Upgrade = &v1alpha1.UpgradeStatus{Phase: v1alpha1.PhaseDataPlane, Wave: 1, WaveDone: &done}
	// rounds goes on for a while, and says how often a query was asked.
	rounds := func(d time.Duration, query string) (n int, o plan.Observed) {
		before := asked[query]
		for end := now.Add(d); now.Before(end); now = now.Add(2 * time.Second) {
			o = plan.Observed{}
			r.lookAtChecks(t.Context(), m, &o)
		}
		return asked[query] - before, o
	}
	if n, o := rounds(time.Minute, "a"); n > 0 || o.Rollout.External != nil {
		t.Errorf("asked %d times before the wave was watched long enough: %+v", n, o.Rollout)
	}
	n, o := rounds(time.Minute, "a")
	if n < 3 || n > 5 || o.Rollout.External == nil || o.Rollout.External.Result != v1alpha1.GateNoEvidence || o.Rollout.External.Wave != 1 {
		t.Errorf("no evidence: asked %d times in a minute, then %+v", n, o.Rollout)
	}
	says = "<html>"
	rounds(16*time.Second, "a")
	if n, o := rounds(time.Minute, "a"); n < 3 || n > 5 || o.Rollout.External != nil || !strings.Contains(o.Rollout.ExternalProblem, "not answer as a Prometheus") {
		t.Errorf("no answer: asked %d times in a minute, then %+v", n, o.Rollout)
	}
	says = `{"status":"success","data":{"resultType":"scalar","result":[1,"0.5"]}}`
	m.Spec.Upgrade.Gates.External.Query = "b"
	if n, o := rounds(2*time.Second, "b"); n != 1 || o.Rollout.External == nil || o.Rollout.External.Result != v1alpha1.GatePassed {
		t.Errorf("another question: asked %d times, %+v", n, o.Rollout)
	}
	m.Status.Upgrade.Wave = 2
	if n, o := rounds(2*time.Second, "b"); n != 1 || o.Rollout.External == nil || o.Rollout.External.Wave != 2 {
		t.Errorf("another wave: asked %d times, %+v", n, o.Rollout)
	}
	// One more pod, so that the wave was done later: what was said before is not about it.
	later := metav1.NewTime(done.Add(time.Second))
	m.Status.Upgrade.WaveDone = &later
	if n, _ := rounds(2*time.Second, "b"); n != 1 {
		t.Errorf("the wave with one more pod: asked %d times", n)
	}
}
