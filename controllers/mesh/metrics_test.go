// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
)

// gathered are the series that a scrape would show, name{labels} -> value.
func gathered(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

func measured(t *testing.T) (*Metrics, *prometheus.Registry) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	m, err := NewMetrics(r)
	if err != nil {
		t.Fatal(err)
	}
	return m, r
}

var began = metav1.NewTime(time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)) //nolint:gochecknoglobals // a constant that Go can't write

func upgradeStatus(phase v1alpha1.UpgradePhase, change ...func(*v1alpha1.UpgradeStatus)) *v1alpha1.UpgradeStatus {
	u := &v1alpha1.UpgradeStatus{From: "0.2.0", To: "0.3.0", Requested: "0.3.0", Phase: phase, Started: began}
	for _, c := range change {
		c(u)
	}
	return u
}

func gates(results ...v1alpha1.GateVerdict) func(*v1alpha1.UpgradeStatus) {
	return func(u *v1alpha1.UpgradeStatus) {
		for i, r := range results {
			u.Gates = append(u.Gates, v1alpha1.GateResult{Wave: int32(i + 1), Result: r})
		}
	}
}

// TestMetricsAtRest: a replica that does not lead, or has no Mesh, shows counters at zero and nothing
// else; no root that ended in 1970.
func TestMetricsAtRest(t *testing.T) {
	m, r := measured(t)
	nothing := map[string]float64{
		"tulle_upgrade_gate_results_total{result=Passed}":     0,
		"tulle_upgrade_gate_results_total{result=Failed}":     0,
		"tulle_upgrade_gate_results_total{result=NoEvidence}": 0,
		"tulle_upgrade_rollbacks_total{cause=failed}":         0,
		"tulle_upgrade_rollbacks_total{cause=requested}":      0,
	}
	if diff := cmp.Diff(nothing, gathered(t, r)); diff != "" {
		t.Error(diff)
	}
	end := metav1.NewTime(began.Add(time.Hour))
	m.show("tulle", v1alpha1.MeshStatus{
		RootCertificateExpiry: &end,
		Upgrade:               upgradeStatus(v1alpha1.PhaseCompleted, func(u *v1alpha1.UpgradeStatus) { u.Finished = &end }),
		Conditions:            []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue}},
	})
	m.forget("another")
	if got := gathered(t, r); len(got) <= len(nothing) {
		t.Errorf("the end of another Mesh took the series of this: %v", got)
	}
	m.forget("tulle")
	if diff := cmp.Diff(nothing, gathered(t, r)); diff != "" {
		t.Errorf("left of a Mesh that has gone: %s", diff)
	}
	var none *Metrics
	none.show("tulle", v1alpha1.MeshStatus{})
	none.count(nil, upgradeStatus(v1alpha1.PhaseRollingBack))
	none.forget("tulle")
}

// TestMetricsShow: what is now is what the status says, whatever was shown before.
func TestMetricsShow(t *testing.T) {
	m, r := measured(t)
	ended, root := metav1.NewTime(began.Add(90*time.Second)), metav1.NewTime(time.Unix(1900000000, 0))
	m.show("tulle", v1alpha1.MeshStatus{
		RootCertificateExpiry: &root,
		Upgrade: upgradeStatus(v1alpha1.PhaseCompleted, func(u *v1alpha1.UpgradeStatus) {
			u.Finished, u.Wave, u.Proxies, u.Replaced = &ended, 5, 24, 24
		}),
		Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue}, {Type: "InUse", Status: metav1.ConditionTrue}},
	})
	want := map[string]float64{
		"tulle_upgrade_phase{phase=Preflight}": 0, "tulle_upgrade_phase{phase=Shadow}": 0,
		"tulle_upgrade_phase{phase=ControlPlane}": 0, "tulle_upgrade_phase{phase=DataPlane}": 0,
		"tulle_upgrade_phase{phase=RollingBack}": 0, "tulle_upgrade_phase{phase=Completed}": 1,
		"tulle_upgrade_phase{phase=RolledBack}": 0,
		"tulle_upgrade_wave":                    5, "tulle_upgrade_proxies": 24, "tulle_upgrade_proxies_replaced": 24,
		"tulle_upgrade_duration_seconds": 90, "tulle_root_certificate_expiry_seconds": 1900000000,
		"tulle_mesh_condition{status=True,type=Ready}": 1, "tulle_mesh_condition{status=False,type=Ready}": 0, "tulle_mesh_condition{status=Unknown,type=Ready}": 0,
		"tulle_mesh_condition{status=True,type=InUse}": 1, "tulle_mesh_condition{status=False,type=InUse}": 0, "tulle_mesh_condition{status=Unknown,type=InUse}": 0,
	}
	counters := func(got map[string]float64) map[string]float64 {
		maps.DeleteFunc(got, func(name string, _ float64) bool { return strings.Contains(name, "_total") })
		return got
	}
	if diff := cmp.Diff(want, counters(gathered(t, r))); diff != "" {
		t.Error(diff)
	}

	// The next upgrade has begun: the duration is still that of the last one, a condition has gone.
	m.show("tulle", v1alpha1.MeshStatus{
		Upgrade:    upgradeStatus(v1alpha1.PhaseDataPlane, func(u *v1alpha1.UpgradeStatus) { u.To, u.Wave, u.Proxies, u.Replaced = "0.4.0", 2, 24, 7 }),
		Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse}},
	})
	got := counters(gathered(t, r))
	for name, value := range map[string]float64{
		"tulle_upgrade_phase{phase=Completed}": 0, "tulle_upgrade_phase{phase=DataPlane}": 1,
		"tulle_upgrade_wave": 2, "tulle_upgrade_proxies_replaced": 7, "tulle_upgrade_duration_seconds": 90,
		"tulle_mesh_condition{status=False,type=Ready}": 1, "tulle_mesh_condition{status=True,type=Ready}": 0,
	} {
		if v, ok := got[name]; !ok || v != value {
			t.Errorf("%s is %v, want %v", name, v, value)
		}
	}
	for _, name := range []string{"tulle_mesh_condition{status=True,type=InUse}", "tulle_root_certificate_expiry_seconds"} {
		if _, ok := got[name]; ok {
			t.Errorf("%s is still there", name)
		}
	}
}

// TestMetricsCount: each event is counted once, however often its status is looked at, and after a
// restart of the operator too.
func TestMetricsCount(t *testing.T) {
	again := func(u *v1alpha1.UpgradeStatus) { u.Started = metav1.NewTime(began.Add(time.Hour)) }
	asked := func(u *v1alpha1.UpgradeStatus) { u.Requested = u.From }
	const pass, fail, none = v1alpha1.GatePassed, v1alpha1.GateFailed, v1alpha1.GateNoEvidence
	for name, c := range map[string]struct {
		life []*v1alpha1.UpgradeStatus
		want string // passed failed noevidence, rolled back failed requested
	}{
		"a good upgrade": {[]*v1alpha1.UpgradeStatus{
			nil, upgradeStatus(v1alpha1.PhasePreflight), upgradeStatus(v1alpha1.PhaseDataPlane, gates(pass)),
			upgradeStatus(v1alpha1.PhaseDataPlane, gates(pass, none)), upgradeStatus(v1alpha1.PhaseCompleted, gates(pass, none, pass)),
		}, "2 0 1, 0 0"},
		"two, one after the other": {[]*v1alpha1.UpgradeStatus{
			nil, upgradeStatus(v1alpha1.PhaseCompleted, gates(pass, pass)), upgradeStatus(v1alpha1.PhaseDataPlane, again, gates(pass)),
		}, "3 0 0, 0 0"},
		"a gate fails": {[]*v1alpha1.UpgradeStatus{
			upgradeStatus(v1alpha1.PhaseDataPlane, gates(pass)), upgradeStatus(v1alpha1.PhaseRollingBack, gates(pass, fail)),
			upgradeStatus(v1alpha1.PhaseRolledBack, gates(pass, fail)),
		}, "0 1 0, 1 0"},
		"a gate fails and it stays": {[]*v1alpha1.UpgradeStatus{
			upgradeStatus(v1alpha1.PhaseDataPlane), upgradeStatus(v1alpha1.PhaseDataPlane, gates(fail)),
			upgradeStatus(v1alpha1.PhaseDataPlane, gates(fail), func(u *v1alpha1.UpgradeStatus) { u.Gates[0].Message = "other figures" }),
		}, "0 1 0, 0 0"},
		"judged anew and found good": {[]*v1alpha1.UpgradeStatus{
			upgradeStatus(v1alpha1.PhaseDataPlane, gates(fail)), upgradeStatus(v1alpha1.PhaseDataPlane, gates(pass)),
		}, "1 0 0, 0 0"},
		"set back by hand": {[]*v1alpha1.UpgradeStatus{
			upgradeStatus(v1alpha1.PhaseDataPlane, gates(pass)), upgradeStatus(v1alpha1.PhaseRollingBack, asked, gates(pass)),
			upgradeStatus(v1alpha1.PhaseRolledBack, asked, gates(pass)),
		}, "0 0 0, 0 1"},
		"rolled back, and the version set back afterwards": {[]*v1alpha1.UpgradeStatus{
			upgradeStatus(v1alpha1.PhaseRolledBack, gates(fail)), upgradeStatus(v1alpha1.PhaseRolledBack, asked, gates(fail)),
		}, "0 0 0, 0 0"},
		"back in one look": {[]*v1alpha1.UpgradeStatus{
			upgradeStatus(v1alpha1.PhaseShadow), upgradeStatus(v1alpha1.PhaseRolledBack, asked),
		}, "0 0 0, 0 1"},
	} {
		m, r := measured(t)
		for i := 1; i < len(c.life); i++ {
			m.count(c.life[i-1], c.life[i])
			m.count(c.life[i], c.life[i]) // another field of the status changed
		}
		got := gathered(t, r)
		said := fmt.Sprintf("%v %v %v, %v %v",
			got["tulle_upgrade_gate_results_total{result=Passed}"], got["tulle_upgrade_gate_results_total{result=Failed}"], got["tulle_upgrade_gate_results_total{result=NoEvidence}"],
			got["tulle_upgrade_rollbacks_total{cause=failed}"], got["tulle_upgrade_rollbacks_total{cause=requested}"])
		if said != c.want {
			t.Errorf("%s: %s, want %s", name, said, c.want)
		}
	}
}

// TestMetricsNames: two sets can't be registered at once, and every phase of the API has its series.
func TestMetricsNames(t *testing.T) {
	_, r := measured(t)
	if _, err := NewMetrics(r); err == nil {
		t.Error("the same metrics were registered twice")
	}
	if list := phases(); len(slices.Compact(slices.Sorted(slices.Values(list)))) != 7 {
		t.Errorf("phases: %v", list)
	}
}
