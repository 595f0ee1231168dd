// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/controllers/trust"
	"tulle.dev/tulle/internal/lifecycle/apply"
	"tulle.dev/tulle/internal/lifecycle/gate"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/rotation"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

// Reconciler reconciles Mesh. All exported fields are read-only after Setup.
type Reconciler struct {
	// Namespace is where the control plane lives: the operator's own.
	Namespace string
	Known     release.Catalog
	Kinds     *kinds.Catalog
	Apply     *apply.Applier
	Client    client.Client
	// Live reads from the API server, Cache what is watched: metadata, for the most part.
	Live, Cache client.Reader
	// Here watches the operator's namespace alone.
	Here cache.Cache
	// ControlPlanes asks their replicas.
	ControlPlanes ControlPlanes
	// Trust asks the ready ones of these replicas of control planes which roots they and their proxies trust.
	Trust func(ctx context.Context, replicas []corev1.Pod) []rotation.Replica
	// Version asks the API server for its own, "v1.36.3".
	Version func() (string, error)
	// External asks the external gate of an upgrade.
	External gate.External
	// Unwritten has the namespaces to which the roots could not be written; nil: not known.
	Unwritten *trust.Unwritten
	// Metrics of what happens; nil: none.
	Metrics *Metrics
	Now     func() time.Time

	without *lookedFor // by the one worker
	// runs is what was seen of the proxies of pods that are not connected, while a root changes. By the one worker.
	runs map[types.UID]proxySeen
	upon *lookedUpon // by the one worker
	// answered is what the external gate said last; by the one worker.
	answered *answer
	// watched is when all could be seen. By the one worker.
	watched upgrade.Watch
	// remembers is what was seen of the pods with a proxy. By the one worker.
	remembers upgrade.Memory
	// dropped tells that a part of the status that was written last is missing. By the one worker.
	dropped bool
}

// definitionEvery is how often a status is written again of which a part was dropped.
const definitionEvery = 15 * time.Second

// takenWait is between two looks at a name that an object of others has: those are not watched.
const takenWait = 10 * time.Second

// Reconcile does one round for one Mesh.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	m := &v1alpha1.Mesh{}
	if err := r.Live.Get(ctx, req.NamespacedName, m); err != nil {
		if apierrors.IsNotFound(err) {
			r.Metrics.forget(req.Name)
		} else {
			r.watched.Look(r.Now(), false)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	seen, err := r.observe(ctx, m)
	if err != nil {
		r.watched.Look(r.Now(), false)
		return reconcile.Result{}, err
	}
	if seen.OlderMesh == "" { // else this is not the mesh that is watched
		seen.Clock = r.watched.Look(r.Now(), seen.Rollout.Complete)
		seen.Rollout.Remembered = r.remembers.Look(m.Status.Upgrade, m.Status.GatewayVersion, seen.Rollout.Pods, seen.Rollout.Proxies, r.Now())
	}
	seen.OldDefinition = r.dropped
	next := plan.Next(m, seen, r.Known, r.Now())
	if next.Finalize {
		if err := r.finalizer(ctx, m, controllerutil.AddFinalizer); err != nil {
			return reconcile.Result{}, err
		}
	}
	podErr, stepErr := r.Apply.Steps(ctx, next.Steps)
	happened := append(next.Events, turns(m.Status.Conditions, next.Status.Conditions)...)
	if err := errors.Join(stepErr, podErr); err != nil {
		happened = append(happened, upgrade.Event{Warning: true, Reason: "StepFailed", Message: err.Error()})
	}
	r.tell(ctx, m, happened)
	taken := apply.TakenBy(stepErr)
	if taken != nil {
		next.Status = plan.NameTaken(next.Status, m.Generation, taken.Error())
		stepErr, next.Done, next.Again = nil, false, takenWait // nothing tells when the name is free
	}
	if err := errors.Join(stepErr, podErr); err != nil && next.Status.Upgrade != nil && next.Status.Upgrade.Phase == v1alpha1.PhasePreflight {
		next.Status.Upgrade.Message += "; a step failed: " + plan.Words(err.Error()) // such as an image that an admission policy refuses
	}
	// Such as a Deployment to which admission of the cluster added what a policy does not allow.
	refused := ""
	if apply.Refused(podErr) {
		refused = podErr.Error()
	}
	if apply.Refused(stepErr) {
		refused = stepErr.Error()
		stepErr, next.Done, next.Again = nil, false, apply.RefusedWait
	}
	// A pod delays neither the next reconciliation nor, as a returned error would, the ones after it.
	if podErr != nil {
		ctrl.LoggerFrom(ctx).Error(podErr, "Pods could not be changed")
		next.Done, next.Again = false, sooner(next.Again, apply.RefusedWait)
	}
	next.Status = plan.Refused(next.Status, m.Generation, refused)
	if r.Unwritten != nil {
		next.Status = plan.RootsUnwritten(next.Status, r.Unwritten.List())
	}
	// The status is true also when a step failed: it follows from what was seen.
	statusErr := r.status(ctx, m, next.Status)
	if apierrors.IsConflict(statusErr) { // the Mesh was changed since it was read; the steps can be repeated
		statusErr, next.Done, next.Again = nil, false, conflictWait
	}
	if seen.OlderMesh == "" {
		r.Metrics.show(m.Name, m.Status)
	}
	if err := errors.Join(stepErr, statusErr); err != nil {
		return reconcile.Result{}, err
	}
	if next.Done {
		if err := r.finalizer(ctx, m, controllerutil.RemoveFinalizer); err != nil {
			return reconcile.Result{}, err
		}
	}
	if len(next.Steps) > 0 {
		ctrl.LoggerFrom(ctx).V(1).Info("Reconciled", "steps", len(next.Steps))
	}
	if r.dropped && next.Again == 0 {
		next.Again = definitionEvery
	}
	return reconcile.Result{RequeueAfter: next.Again}, nil
}

// sooner is the shorter of two waits; 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// conflictWait is how soon a status is written again that another change came before.
const conflictWait = time.Second

// finalizer adds or removes Tulle's finalizer.
func (r *Reconciler) finalizer(ctx context.Context, m *v1alpha1.Mesh, change func(client.Object, string) bool) error {
	before := m.DeepCopy()
	if !change(m, names.Finalizer) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, m, patch, client.FieldOwner(names.FieldManager)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("patch finalizers of Mesh %s: %w", m.Name, err)
	}
	return nil
}

// status writes the status if it says anything new. The times of conditions change only with their status.
func (r *Reconciler) status(ctx context.Context, m *v1alpha1.Mesh, want v1alpha1.MeshStatus) error {
	before := m.DeepCopy()
	m.Status = want
	m.Status.Conditions = conditionsOf(want.Conditions, before.Status.Conditions, r.Now())
	if equality.Semantic.DeepEqual(before.Status, m.Status) {
		return nil
	}
	meant := m.Status.DeepCopy()
	// With the lock: what another controller has added to the conditions since the Mesh was read is not erased.
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := r.Client.Status().Patch(ctx, m, patch, client.FieldOwner(names.FieldManager))
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("patch status of Mesh %s: %w", m.Name, err)
	}
	r.Metrics.count(before.Status.Upgrade, want.Upgrade)
	if r.dropped, err = differ(*meant, m.Status); r.dropped {
		r.tell(ctx, before, []upgrade.Event{{Warning: true, Reason: "OldDefinition", Message: plan.OldDefinition}})
	}
	return err
}

// differ tells whether the API server has kept less than was meant, since it drops fields that the
// CustomResourceDefinition does not know. The status is the operator's only memory.
func differ(meant, got v1alpha1.MeshStatus) (bool, error) {
	a, err := json.Marshal(meant) // as JSON, because times lose their fractions
	if err != nil {
		return false, err
	}
	b, err := json.Marshal(got)
	return !bytes.Equal(a, b), err
}
