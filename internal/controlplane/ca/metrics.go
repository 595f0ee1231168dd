// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of the signing service. The nil value counts nothing.
type Metrics struct {
	signed   *prometheus.CounterVec
	refused  *prometheus.CounterVec
	expiry   prometheus.Gauge
	reloads  *prometheus.CounterVec
	duration prometheus.Histogram
}

// NewMetrics makes and registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		signed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_ca_signatures_total", Help: "Workload certificates signed, by kind of proxy.",
		}, []string{"kind"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_ca_refusals_total", Help: "Certificate requests refused, by reason.",
		}, []string{"reason"}),
		expiry: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tulle_ca_intermediate_expiry_seconds", Help: "When the chain from the intermediate to the root ends, as Unix time.",
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_ca_reloads_total", Help: "Looks at the intermediate's files, by result (ok, error).",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tulle_ca_request_duration_seconds", Help: "Time to answer a certificate request, whatever the answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
	}
	// A counter that appears with its first event shows no increase.
	for _, result := range []string{"ok", "error"} {
		m.reloads.WithLabelValues(result)
	}
	for _, r := range reasons() {
		m.refused.WithLabelValues(string(r))
	}
	for _, c := range []prometheus.Collector{m.signed, m.refused, m.expiry, m.reloads, m.duration} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) sign(kind string) {
	if m != nil {
		m.signed.WithLabelValues(kind).Inc()
	}
}

func (m *Metrics) refuse(r Reason) {
	if m != nil {
		m.refused.WithLabelValues(string(r)).Inc()
	}
}

func (m *Metrics) expires(t time.Time) {
	if m != nil {
		m.expiry.Set(float64(t.Unix()))
	}
}

func (m *Metrics) reloaded(err error) {
	if m == nil {
		return
	}
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.reloads.WithLabelValues(result).Inc()
}

func (m *Metrics) took(d time.Duration) {
	if m != nil {
		m.duration.Observe(d.Seconds())
	}
}
