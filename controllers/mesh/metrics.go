// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
)

// Causes of a rollback.
const (
	// causeFailed: a gate failed, or a proxy did not get ready.
	causeFailed = "failed"
	// causeRequested: somebody set spec.version back.
	causeRequested = "requested"
)

// Metrics of the operator about the active Mesh. What is now is read from its status, so that it is
// right from the first look after a start; what happened is counted when the status that tells it has
// been written, so that it counts once. Only the replica that leads has anything to show, but for the
// counters, which begin at zero everywhere. The nil value counts and shows nothing. Safe for
// concurrent use.
type Metrics struct {
	gates     *prometheus.CounterVec
	rollbacks *prometheus.CounterVec

	phase, wave, proxies, replaced, duration, rootExpiry, condition *prometheus.Desc

	mu sync.Mutex
	// guarded by mu:
	mesh     string // whose status it is; empty: nobody's
	status   v1alpha1.MeshStatus
	finished *v1alpha1.UpgradeStatus // the last upgrade that was seen to have ended
}

// NewMetrics makes and registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m := &Metrics{
		gates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_upgrade_gate_results_total", Help: "Waves of upgrades that were judged, by result (Passed, Failed, NoEvidence).",
		}, []string{"result"}),
		rollbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_upgrade_rollbacks_total", Help: "Upgrades that turned round, by cause (failed, requested).",
		}, []string{"cause"}),
		phase:      desc("tulle_upgrade_phase", "1 for the phase that the latest upgrade is in, or ended with; 0 for the others.", "phase"),
		wave:       desc("tulle_upgrade_wave", "The wave under way, counted from 1; 0 if none was begun."),
		proxies:    desc("tulle_upgrade_proxies", "Proxies that take part in the latest upgrade."),
		replaced:   desc("tulle_upgrade_proxies_replaced", "Of these, proxies that run the release that the upgrade goes to."),
		duration:   desc("tulle_upgrade_duration_seconds", "How long the last upgrade took that ended, either way."),
		rootExpiry: desc("tulle_root_certificate_expiry_seconds", "When the first of the roots that new certificates hang from ends, as Unix time."),
		condition:  desc("tulle_mesh_condition", "1 for the status (True, False, Unknown) that a condition of the Mesh has; 0 for the others.", "type", "status"),
	}
	// A counter that appears with its first event shows no increase.
	for _, v := range []v1alpha1.GateVerdict{v1alpha1.GatePassed, v1alpha1.GateFailed, v1alpha1.GateNoEvidence} {
		m.gates.WithLabelValues(string(v))
	}
	for _, c := range []string{causeFailed, causeRequested} {
		m.rollbacks.WithLabelValues(c)
	}
	for _, c := range []prometheus.Collector{m.gates, m.rollbacks, m} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// show takes over what the active Mesh's status says now.
func (m *Metrics) show(name string, s v1alpha1.MeshStatus) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mesh != name {
		m.finished = nil
	}
	m.mesh, m.status = name, *s.DeepCopy()
	if u := m.status.Upgrade; u != nil && u.Finished != nil {
		m.finished = u
	}
}

// forget shows nothing any more of a Mesh that has gone.
func (m *Metrics) forget(name string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mesh == name {
		m.mesh, m.status, m.finished = "", v1alpha1.MeshStatus{}, nil
	}
}

// count counts what happened between one written status and the next.
func (m *Metrics) count(before, after *v1alpha1.UpgradeStatus) {
	if m == nil {
		return
	}
	for _, v := range judged(before, after) {
		m.gates.WithLabelValues(string(v)).Inc()
	}
	if cause := turnedRound(before, after); cause != "" {
		m.rollbacks.WithLabelValues(cause).Inc()
	}
}

// judged are the results that a status has and the one before did not. A wave that is judged again
// with the same result (a pod became Ready late, or the upgrade stays where it failed) is not new.
func judged(before, after *v1alpha1.UpgradeStatus) (out []v1alpha1.GateVerdict) {
	if after == nil {
		return nil
	}
	for _, g := range after.Gates {
		old := func(o v1alpha1.GateResult) bool { return o.Wave == g.Wave && o.Result == g.Result }
		if !sameUpgrade(before, after) || !slices.ContainsFunc(before.Gates, old) {
			out = append(out, g.Result)
		}
	}
	return out
}

// turnedRound is why an upgrade turned round between two statuses; empty: it did not.
func turnedRound(before, after *v1alpha1.UpgradeStatus) string {
	back := func(u *v1alpha1.UpgradeStatus) bool {
		return u.Phase == v1alpha1.PhaseRollingBack || u.Phase == v1alpha1.PhaseRolledBack
	}
	switch {
	case after == nil || !back(after) || sameUpgrade(before, after) && back(before):
		return ""
	case after.Requested == after.From:
		return causeRequested
	}
	return causeFailed
}

func sameUpgrade(a, b *v1alpha1.UpgradeStatus) bool {
	return a != nil && b != nil && a.From == b.From && a.To == b.To && a.Started.Equal(&b.Started)
}

// Describe is for the registry.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.phase, m.wave, m.proxies, m.replaced, m.duration, m.rootExpiry, m.condition} {
		out <- d
	}
}

// Collect is for the registry. What is not known is left out rather than 0: a root that ended in 1970
// would call somebody.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if u := m.status.Upgrade; u != nil {
		for _, p := range phases() {
			gauge(m.phase, is(u.Phase == p), string(p))
		}
		gauge(m.wave, float64(u.Wave))
		gauge(m.proxies, float64(u.Proxies))
		gauge(m.replaced, float64(u.Replaced))
	}
	if f := m.finished; f != nil {
		gauge(m.duration, f.Finished.Sub(f.Started.Time).Seconds())
	}
	if e := m.status.RootCertificateExpiry; e != nil {
		gauge(m.rootExpiry, float64(e.Unix()))
	}
	for _, c := range m.status.Conditions {
		for _, s := range []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown} {
			gauge(m.condition, is(c.Status == s), c.Type, string(s))
		}
	}
}

// phases are all of them, in their order.
func phases() []v1alpha1.UpgradePhase {
	return []v1alpha1.UpgradePhase{
		v1alpha1.PhasePreflight, v1alpha1.PhaseShadow, v1alpha1.PhaseControlPlane, v1alpha1.PhaseDataPlane,
		v1alpha1.PhaseRollingBack, v1alpha1.PhaseCompleted, v1alpha1.PhaseRolledBack,
	}
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
