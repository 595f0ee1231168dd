// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/missing"
)

// evict are the pods to be made anew now because they lack a proxy, if the Mesh wants that. It waits for
// somebody who injects their successors, and for the end of a change of the version, which restarts pods too.
func (d decision) evict() []missing.Pod {
	if d.mesh.Spec.Injection.Missing != v1alpha1.MissingEvict || !d.seen.Missing.Fresh || !d.up.Settled || !d.judgeInjection().Good {
		return nil
	}
	return missing.Choose(d.seen.Missing.Pods, d.now)
}
