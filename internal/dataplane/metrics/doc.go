// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package metrics merges what Prometheus is told about a pod: the
// application's metrics, Envoy's, and the agent's own, in the text format.
//
// It knows none of the metrics' meanings. Invariants: an application that is
// slow or broken costs its own metrics only, and no client makes another one's
// page late, or takes anything from it.
package metrics
