// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package alerts

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// fault is what goes wrong, and what Prometheus makes of it.
type fault struct {
	alert string
	// begin makes it go wrong.
	begin func(t *testing.T, w *world)
	// after is when the alert fires, at most two evaluations later; exactly one fires, unless many.
	after time.Duration
	many  bool
	// labels and summary are parts of what people get.
	labels, summary string
}

// window is how long it takes until a rate over ten minutes is above a bound that the new one is
// twice: half of that.
const window = 5 * time.Minute

func faults() []fault {
	set := func(selector string, v float64) func(*testing.T, *world) {
		return func(t *testing.T, w *world) { w.fault(t, selector, constant(v)) }
	}
	gone := func(selector string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) { w.fault(t, selector, constant(absent())) }
	}
	counts := func(selector string, perSecond float64) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			w.fault(t, selector, func(at time.Duration) float64 { return at.Seconds() * perSecond })
		}
	}
	// once is a counter that counts once: from 0, where it has been since the component started.
	once := func(selector string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) { w.set(t, selector, constant(0)); w.fault(t, selector, constant(1)) }
	}
	ends := func(selector string, in time.Duration) func(*testing.T, *world) {
		return func(t *testing.T, w *world) { w.fault(t, selector, constant(float64(w.began.Add(in).Unix()))) }
	}
	const hour, minute = time.Hour, time.Minute
	return []fault{
		{alert: "TulleOperatorAway", begin: gone(`{job="mesh-system/tulle-operator"}`), after: 10 * minute},
		{alert: "TulleOperatorAway", begin: set(`leader_election_master_status`, 0), after: 10 * minute},
		{
			alert: "TulleOperatorErrors", begin: counts(`controller_runtime_reconcile_errors_total{controller="gateway"}`, 0.04),
			after: 15*minute + window, labels: `controller="gateway"`, summary: "controller gateway keeps",
		},
		{alert: "TulleMeshNotReady", begin: func(t *testing.T, w *world) {
			w.fault(t, `tulle_mesh_condition{type="Ready",status="True"}`, constant(0))
			w.fault(t, `tulle_mesh_condition{type="Ready",status="False"}`, constant(1))
		}, after: 10 * minute},
		{alert: "TulleControlPlaneAway", begin: gone(`{job="mesh-system/tulle-controlplane"}`), after: 5 * minute},
		{
			alert: "TulleProxiesDisconnected", begin: set(`tulle_agent_control_plane_connected{pod=~"cart-[12]"}`, 0),
			after: 10 * minute, summary: "10% of the proxies",
		},
		{alert: "TulleSlowAcknowledgements", begin: func(t *testing.T, w *world) {
			// From now on one in fifty takes longer than 16 s.
			w.fault(t, `tulle_xds_ack_seconds_bucket{le=~"0[.](0[2-9]|[1-9]).*|[1-9].*",le!~"32.*"}`, func(at time.Duration) float64 {
				return rising(2)(0) + 1.96*at.Seconds()
			})
		}, after: 15*minute + window, summary: "Changes take 2"},
		{alert: "TulleNamesRefused", begin: once(`tulle_xds_refused_total{reason="unauthorized",pod="tulle-controlplane-2"}`), after: 0, labels: `pod="tulle-controlplane-2"`},
		{alert: "TulleInjectionErrors", begin: counts(`tulle_injection_reviews_total{result="error"}`, 0.05), after: 5*minute + window/2},
		{
			alert: "TulleConfigurationRejected", begin: set(`tulle_agent_rejected_resources{pod="cart-7"}`, 1),
			after: 5 * minute, labels: `namespace="shop", pod="cart-7"`, summary: "Envoy in shop/cart-7 refuses",
		},
		{
			alert: "TulleProxyNotServing", begin: set(`tulle_agent_serving{pod="cart-7"}`, 0),
			after: 10 * minute, labels: `namespace="shop", pod="cart-7"`, summary: "proxy of shop/cart-7 does",
		},
		{
			alert: "TulleEnvoyRestarts", begin: counts(`tulle_agent_envoy_restarts_total{pod="cart-7"}`, 1.0/300),
			after: 10 * minute, labels: `pod="cart-7"`, summary: "Envoy in shop/cart-7 ends",
		},
		{
			alert: "TulleWorkloadCertificateEnds", begin: ends(`tulle_agent_certificate_expiry_seconds{pod="cart-7"}`, 2*hour),
			after: hour + 10*minute, labels: `namespace="shop", pod="cart-7"`, summary: "certificate of shop/cart-7 ends",
		},
		{
			alert: "TulleIntermediateEnds", begin: ends(`tulle_ca_intermediate_expiry_seconds{pod="tulle-controlplane-1"}`, 73*hour),
			after: hour + 10*minute, summary: "within 2d 23h",
		},
		{alert: "TulleRootEnds", begin: ends(`tulle_root_certificate_expiry_seconds`, (14*24+1)*hour), after: 2 * hour, summary: "within 13d 22h"},
		{alert: "TulleIntermediateUnreadable", begin: counts(`tulle_ca_reloads_total{result="error",pod="tulle-controlplane-1"}`, 1.0/60), after: 10 * minute},
		{
			alert: "TulleSigningRefused", begin: counts(`tulle_ca_refusals_total{reason="review"}`, 0.1),
			after: 10*minute + window, labels: `reason="review"`, summary: "refused: review",
		},
		{alert: "TulleUpgradeRolledBack", begin: once(`tulle_upgrade_rollbacks_total{cause="failed"}`), after: 0},
		{alert: "TulleUpgradeStuck", begin: func(t *testing.T, w *world) {
			w.fault(t, `tulle_upgrade_phase`, constant(0))
			w.fault(t, `tulle_upgrade_phase{phase="DataPlane"}`, constant(1))
		}, after: 4 * hour, labels: `phase="DataPlane"`, summary: "in phase DataPlane"},
	}
}

// TestFires: each alert fires when what it is for goes wrong, when it has gone on for as long as it
// says, with the labels its words need; and no other does.
func TestFires(t *testing.T) {
	rules := alerts(t)
	tried := map[string]bool{}
	for _, f := range faults() {
		tried[f.alert] = true
		t.Run(f.alert, func(t *testing.T) {
			w := healthy(t)
			f.begin(t, w)
			fired := evaluate(t, rules, w, -30*time.Minute, f.after+10*time.Minute)
			if len(fired) != 1 || fired[0].alert != f.alert {
				t.Fatalf("fired: %+v", fired)
			}
			got := fired[0]
			if late := got.after - f.after; late < 0 || late > 2*evaluateEvery {
				t.Errorf("it fired after %v, want %v", got.after, f.after)
			}
			if !strings.Contains(got.labels, f.labels) || !strings.Contains(got.summary, f.summary) || got.description == "" {
				t.Errorf("fired: %+v, want %s and %q", got, f.labels, f.summary)
			}
		})
	}
	for _, a := range rules {
		if !tried[a.name] {
			t.Errorf("%s: nothing shows that it can fire", a.name)
		}
	}
}

// TestQuiet: in a healthy mesh nothing fires, nor while it is upgraded as planned or while something
// is wrong that passes.
func TestQuiet(t *testing.T) {
	const minute = time.Minute
	passes := func(selector string, v float64, end time.Duration) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			for _, s := range w.find(t, selector) {
				well := s.course
				s.course = func(at time.Duration) float64 {
					if at >= 0 && at < end {
						return v
					}
					return well(at)
				}
			}
		}
	}
	for name, c := range map[string]struct {
		begin func(*testing.T, *world)
		end   time.Duration
	}{
		"a day": {func(*testing.T, *world) {}, 24 * time.Hour},
		"an upgrade": {func(t *testing.T, w *world) {
			in := func(begin, end time.Duration) course {
				return func(at time.Duration) float64 {
					if at >= begin && at < end {
						return 1
					}
					return 0
				}
			}
			for i, phase := range []string{"Preflight", "Shadow", "ControlPlane", "DataPlane"} {
				begin := time.Duration(i) * time.Hour
				w.fault(t, `tulle_upgrade_phase{phase="`+phase+`"}`, in(begin, begin+time.Hour))
			}
			w.fault(t, `tulle_upgrade_phase{phase="Completed"}`, in(4*time.Hour, 100*time.Hour))
		}, 8 * time.Hour},
		"an operator of another project fails": {func(t *testing.T, w *world) {
			of := []string{"job", "other/other-operator", "instance", "other-operator-1", "namespace", "other", "pod", "other-operator-1"}
			w.series = append(w.series,
				&series{labels.FromStrings(append([]string{labels.MetricName, "controller_runtime_reconcile_errors_total", "controller", "gateway"}, of...)...), rising(1)},
				&series{labels.FromStrings(append([]string{labels.MetricName, "leader_election_master_status", "name", "other-operator"}, of...)...), constant(1)})
		}, time.Hour},
		"another operator":      {passes(`{job="mesh-system/tulle-operator"}`, absent(), 5*minute), time.Hour},
		"another control plane": {passes(`{job="mesh-system/tulle-controlplane"}`, absent(), 3*minute), time.Hour},
		"one proxy in twenty":   {passes(`tulle_agent_control_plane_connected{pod="cart-7"}`, 0, time.Hour), time.Hour},
		"a proxy starts":        {passes(`tulle_agent_serving{pod="cart-7"}`, 0, 5*minute), time.Hour},
		"an Envoy ends, once": {func(t *testing.T, w *world) {
			w.fault(t, `tulle_agent_envoy_restarts_total{pod="cart-7"}`, constant(1))
		}, time.Hour},
		"somebody turns an upgrade": {func(t *testing.T, w *world) {
			w.fault(t, `tulle_upgrade_rollbacks_total{cause="requested"}`, constant(1))
		}, time.Hour},
		"a replica has not read the intermediate": {func(t *testing.T, w *world) {
			w.fault(t, `tulle_ca_intermediate_expiry_seconds{pod="tulle-controlplane-2"}`, constant(0))
		}, time.Hour},
		"nobody ever had an upgrade": {func(t *testing.T, w *world) { w.set(t, `tulle_upgrade_phase`, constant(absent())) }, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w := healthy(t)
			c.begin(t, w)
			if fired := evaluate(t, alerts(t), w, -30*time.Minute, c.end); len(fired) > 0 {
				t.Errorf("fired: %+v", fired)
			}
		})
	}
}

// TestWrongLabelIsFound: an alert that asks for a label that nobody exposes does not fire, and so
// can't pass TestFires.
func TestWrongLabelIsFound(t *testing.T) {
	rules := alerts(t)
	i := slices.IndexFunc(rules, func(a alert) bool { return a.name == "TulleNamesRefused" })
	j := slices.IndexFunc(faults(), func(f fault) bool { return f.alert == "TulleNamesRefused" })
	if i < 0 || j < 0 {
		t.Fatal("no TulleNamesRefused")
	}
	right := rules[i]
	wrong := right
	wrong.expr = strings.Replace(right.expr, "reason=", "cause=", 1)
	w := healthy(t)
	faults()[j].begin(t, w)
	if n := len(evaluate(t, []alert{right}, w, 0, 10*time.Minute)); n != 1 {
		t.Errorf("%d fired, want 1", n)
	}
	if fired := evaluate(t, []alert{wrong}, w, 0, 10*time.Minute); wrong.expr == right.expr || len(fired) > 0 {
		t.Errorf("fired: %+v", fired)
	}
}
