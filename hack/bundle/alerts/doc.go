// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package alerts holds the alerts of config/prometheus against the code and
// the documentation: every metric they name is one that Tulle has, and every
// alert has its runbook. It is tests only.
//
// Start with alerts_test.go.
package alerts
