// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package controlplane

// debugOnMonitor says that the debug paths are on the monitoring port, for anyone. See debugport_0_1.go.
const debugOnMonitor = false
