// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package alerts holds the alerts of config/prometheus against the code and
// the documentation: every metric they name is one that Tulle has, every alert
// has its runbook, and each fires when what it is for goes wrong and at no
// other time. It is tests only.
//
// The last is tried with Prometheus' own engine, on a simulated mesh whose
// series are those that real components exposed: testdata, recorded and held
// against the components of today by test/e2e TestSeries. Invariant: a fault
// changes recorded series only, so that an alert that asks for other names or
// labels than anybody exposes can't pass.
//
// Start with fire_test.go.
package alerts
