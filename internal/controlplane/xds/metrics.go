// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a Server. Labels come from closed sets: a client can't add to them.
type metrics struct {
	types     map[*kind]*typeMetrics // read-only; nil is the key of all types that are not served
	streams   prometheus.Gauge
	stale     prometheus.Counter
	cycles    prometheus.Counter
	gathered  prometheus.Counter
	refused   *prometheus.CounterVec // by reason
	malformed prometheus.Counter
	paused    prometheus.Counter
	notes     prometheus.Counter
	dropped   *prometheus.CounterVec // notes, by reason
	latency   prometheus.Histogram
}

type typeMetrics struct {
	responses, resources, removals, bytes, acks, nacks prometheus.Counter
}

func newMetrics(kinds map[string]*kind) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "tulle_xds_" + name, Help: help})
	}
	m := &metrics{
		types:     map[*kind]*typeMetrics{},
		streams:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "tulle_xds_streams", Help: "Open streams."}),
		stale:     counter("stale_nonces_total", "Answers to responses that were not the last one of their type."),
		cycles:    counter("need_cycles_total", "Responses sent out of order because resources need one another."),
		gathered:  counter("gathered_windows_total", "Times that commits were gathered because proxies had a backlog."),
		malformed: counter("malformed_total", "Streams ended because of a malformed or oversized request."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_xds_refused_total", Help: "Names refused, by reason: unauthorized, wildcard or unauthenticated (streams).",
		}, []string{"reason"}),
		paused: counter("paused_total", "Requests that had to wait because their pod sent too many or too large ones."),
		notes:  counter("notes_total", "Notes of proxies that were kept."),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_xds_dropped_notes_total", Help: "Notes of proxies that were dropped, by reason: oversized, empty or frequent.",
		}, []string{"reason"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tulle_xds_ack_seconds", Help: "Time from a commit to a proxy's ACK of it.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
	}
	// A counter that appears with its first event shows no increase.
	for _, reason := range []string{"unauthorized", "wildcard", "unauthenticated"} {
		m.refused.WithLabelValues(reason)
	}
	m.types[nil] = newTypeMetrics("other")
	for _, k := range kinds {
		m.types[k] = newTypeMetrics(k.URL[strings.LastIndexByte(k.URL, '.')+1:])
	}
	return m
}

func newTypeMetrics(label string) *typeMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tulle_xds_" + name, Help: help, ConstLabels: prometheus.Labels{"type": label},
		})
	}
	return &typeMetrics{
		responses: counter("responses_total", "Responses sent."),
		resources: counter("resources_total", "Resources sent."),
		removals:  counter("removals_total", "Names sent as removed or not existing."),
		bytes:     counter("response_bytes_total", "Bytes of responses sent."),
		acks:      counter("acks_total", "Responses accepted."),
		nacks:     counter("nacks_total", "Responses rejected."),
	}
}

func (m *metrics) of(k *kind) *typeMetrics { return m.types[k] }

func (m *metrics) register(r prometheus.Registerer) error {
	all := []prometheus.Collector{m.streams, m.stale, m.cycles, m.gathered, m.malformed, m.paused, m.notes, m.dropped, m.refused, m.latency}
	for _, t := range m.types {
		all = append(all, t.responses, t.resources, t.removals, t.bytes, t.acks, t.nacks)
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register xDS metrics: %w", err)
		}
	}
	return nil
}
