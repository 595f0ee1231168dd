// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package controlplane

// debugOnMonitor says that the debug paths are on the monitoring port, for anyone, as in releases up to
// 0.2.0. This build stands for such a release in tests of upgrades.
const debugOnMonitor = true
