// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"fmt"
	"time"

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
		a := r.askExternal(ctx, question{wave: u.Wave, done: u.WaveDone.Time, gate: *external})
		o.Rollout.External, o.Rollout.ExternalProblem = a.result, a.problem
	}
}

// askAgain is how soon the external gate is asked once more about the same wave: rounds are two seconds
// apart, and whoever has no evidence has none two seconds later.
const askAgain = 15 * time.Second

// question is what the external gate is asked: of a wave, whose last proxy was replaced at a time.
type question struct {
	wave int32
	done time.Time
	gate v1alpha1.ExternalGate
}

// answer is what it said last, to which question.
type answer struct {
	question
	at      time.Time
	result  *v1alpha1.GateResult
	problem string
}

// askExternal asks, or repeats an answer that is not old.
func (r *Reconciler) askExternal(ctx context.Context, q question) answer {
	if a := r.answered; a != nil && a.question == q && r.Now().Sub(a.at) < askAgain {
		return *a
	}
	a := answer{question: q}
	v, message, err := r.External.Ask(ctx, q.gate)
	if err != nil {
		a.problem = err.Error()
	} else {
		a.result = &v1alpha1.GateResult{Wave: q.wave, Result: v, Message: message}
	}
	a.at = r.Now()
	r.answered = &a
	return a
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
