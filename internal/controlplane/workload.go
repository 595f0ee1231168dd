// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import "tulle.dev/tulle/internal/controlplane/status"

var _ status.Workload = connected{}

// Workload returns the namespace of the proxy's pod and, for a proxy of a Gateway, the Gateway's name.
func (c connected) Workload() (namespace, gateway string) { return c.Namespace, c.Gateway }
