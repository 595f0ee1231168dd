// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestOperatorPorts: what the kubelet and Prometheus ask the operator is answered, and nothing else.
func TestOperatorPorts(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "some"}))
	for _, c := range []struct {
		handler http.Handler
		path    string
		status  int
		says    string
	}{
		{healthHandler(), "/healthz", 200, "ok"},
		{healthHandler(), "/readyz", 200, "ok"},
		{healthHandler(), "/readyz/ping", 200, "ok"},
		{healthHandler(), "/metrics", 404, ""},
		{metricsHandler(r), "/metrics", 200, "some 0"},
		{metricsHandler(r), "/", 404, ""},
	} {
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, c.path, nil))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s", c.path, w.Code, w.Body)
		}
	}
}
