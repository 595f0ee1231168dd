// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
)

// lookAtChecks asks what a phase of an upgrade depends on and nobody watches: what the new control
// plane would change, and what the external gate says.
func (r *Reconciler) lookAtChecks(ctx context.Context, m *v1alpha1.Mesh, o *plan.Observed) {
	u := m.Status.Upgrade
	if u == nil {
		return
	}
	if u.Phase == v1alpha1.PhaseShadow {
		r.compare(ctx, u, o)
	}
	external := m.Spec.Upgrade.Gates.External
	soaked := u.WaveDone != nil && !r.Now().Before(u.WaveDone.Add(m.Spec.Upgrade.Soak.Duration))
	if u.Phase == v1alpha1.PhaseDataPlane && external != nil && soaked {
		v, message, err := r.External.Ask(ctx, *external)
		if err != nil {
			o.Rollout.ExternalProblem = err.Error()
			return
		}
		o.Rollout.External = &v1alpha1.GateResult{Wave: u.Wave, Result: v, Message: message}
	}
}

// compare is best effort: as long as a replica does not answer, there is no difference to show.
func (r *Reconciler) compare(ctx context.Context, u *v1alpha1.UpgradeStatus, o *plan.Observed) {
	from, ok := r.Known.Find(u.From)
	to, known := r.Known.Find(u.To)
	if !ok || !known {
		return
	}
	d, err := r.ControlPlanes.Difference(ctx, o.Pods[from.Revision()], o.Pods[to.Revision()])
	if err != nil {
		ctrl.LoggerFrom(ctx).V(1).Info("Comparing the control planes failed, and is tried again", "error", err.Error())
		return
	}
	if d == nil {
		return
	}
	o.Rollout.Difference = &upgrade.Difference{Summary: d.Summary()}
	for _, x := range d.NewlyRejected() {
		o.Rollout.Difference.Rejected = append(o.Rollout.Difference.Rejected, fmt.Sprintf("%s %s/%s: %s", x.Kind, x.Namespace, x.Name, x.Message))
	}
}
