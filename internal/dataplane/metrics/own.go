// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Registry holds the agent's own few metrics. The zero value is empty and ready; safe for concurrent use.
type Registry struct {
	mu      sync.Mutex
	metrics map[string]*metric
}

type metric struct {
	kind, help string
	value      float64
}

// Count adds 1 to a counter.
func (r *Registry) Count(name, help string) { r.change(name, help, "counter", 1, true) }

// Expect shows a counter at 0 that has counted nothing yet: one that appears with its first event shows
// no increase.
func (r *Registry) Expect(name, help string) { r.change(name, help, "counter", 0, true) }

// Set sets a gauge.
func (r *Registry) Set(name, help string, v float64) { r.change(name, help, "gauge", v, false) }

func (r *Registry) change(name, help, kind string, v float64, add bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.metrics == nil {
		r.metrics = map[string]*metric{}
	}
	m := r.metrics[name]
	if m == nil {
		m = &metric{kind: kind, help: help}
		r.metrics[name] = m
	}
	if add {
		v += m.value
	}
	m.value = v
}

// WriteTo writes all metrics in the Prometheus text format, in order of their names.
func (r *Registry) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.metrics)) {
		m := r.metrics[name]
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n%s %v\n", name, m.help, name, m.kind, name, m.value)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}
