// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package scrape bounds what it costs to be asked for metrics by anyone: they are
// rendered one at a time, and a rendering is used again for everyone who asks
// within a second. How many clients are sent it at a time, and how slowly they may
// read it, is bounded by the listener (package bounded). It knows nothing of what
// the metrics are.
package scrape
