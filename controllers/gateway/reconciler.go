// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gateway

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/active"
	"tulle.dev/tulle/internal/lifecycle/apply"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/names"
)

// Reconciler deploys the proxies of Gateways. All fields are read-only after Setup.
type Reconciler struct {
	// Namespace is where the control plane lives.
	Namespace string
	Known     release.Catalog
	Apply     *apply.Applier
	Client    client.Client
	// Live reads from the API server, Cache what is watched.
	Live, Cache client.Reader
	Now         func() time.Time

	// withSets is set once ListenerSets are watched.
	withSets atomic.Bool
}

// Delays after which a Gateway is reconciled again, where no watch reports the change.
const (
	// verdictWait is how long a new Gateway waits for the control plane's verdict before it is deployed.
	verdictWait = 5 * time.Second
	// takenWait is between looks at a name that is taken: objects of others are not watched.
	takenWait = 10 * time.Second
	// leftWait is until the second look at a status that was cleared: the control plane may have been writing to it.
	leftWait = 5 * time.Second
	// conflictWait is until the next try after something else has changed an object at the same moment.
	conflictWait = 500 * time.Millisecond
)

// Reconcile does one round for one Gateway.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	gw := &gwapiv1.Gateway{}
	if err := r.Live.Get(ctx, req.NamespacedName, gw); apierrors.IsNotFound(err) {
		// The objects made for it are owned by it and deleted with it. Its ListenerSets are not.
		return again(r.leaveSets(ctx, req.NamespacedName))
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("get Gateway %s: %w", req.NamespacedName, err)
	}
	if !gw.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil
	}
	ours, err := r.ours(ctx, gw)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !ours {
		// It never was, or its class is another controller's now.
		if err := r.remove(ctx, gw, nil); err != nil {
			return reconcile.Result{}, err
		}
		return again(r.leave(ctx, gw, false))
	}
	m, err := active.Mesh(ctx, r.Cache)
	if err != nil {
		return reconcile.Result{}, err
	}
	if m == nil {
		if err := r.remove(ctx, gw, nil); err != nil {
			return reconcile.Result{}, err
		}
		if err := r.say(ctx, gw, health.Verdict{Reason: v1alpha1.ReasonNoMesh, Message: "there is no Mesh; create one, and the Gateway is served"}); err != nil {
			return reconcile.Result{}, err
		}
		return again(r.leave(ctx, gw, true))
	}
	if !m.DeletionTimestamp.IsZero() {
		// The mesh controller takes everything down in its order.
		return reconcile.Result{}, nil
	}
	verdict, wait, err := r.deploy(ctx, m, gw)
	switch {
	case apierrors.IsConflict(err):
		return reconcile.Result{RequeueAfter: conflictWait}, nil
	case err != nil:
		return reconcile.Result{}, err
	case verdict == nil:
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	return reconcile.Result{RequeueAfter: wait}, r.say(ctx, gw, *verdict)
}

// again asks for another look at a status that was cleared.
func again(cleared bool, err error) (reconcile.Result, error) {
	if err != nil || !cleared {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: leftWait}, nil
}

// ours tells whether the Gateway's class is Tulle's.
func (r *Reconciler) ours(ctx context.Context, gw *gwapiv1.Gateway) (bool, error) {
	class := &gwapiv1.GatewayClass{}
	err := r.Cache.Get(ctx, client.ObjectKey{Name: string(gw.Spec.GatewayClassName)}, class)
	if apierrors.IsNotFound(err) {
		// It was deleted. What it served is still served while the mesh controller creates it again.
		return gw.Spec.GatewayClassName == names.GatewayClass, nil
	}
	if err != nil {
		return false, fmt.Errorf("get GatewayClass %s: %w", gw.Spec.GatewayClassName, err)
	}
	return class.Spec.ControllerName == names.ControllerName, nil
}

// deploy creates and updates the Gateway's objects and returns how they are. The verdict is nil while
// there is nothing to report; wait is when to look again, 0 if a watch tells.
func (r *Reconciler) deploy(ctx context.Context, m *v1alpha1.Mesh, gw *gwapiv1.Gateway) (verdict *health.Verdict, wait time.Duration, err error) {
	d, err := r.deployment(ctx, gw)
	if err != nil {
		return nil, 0, err
	}
	refused, why := refusal(gw)
	if refused && d == nil {
		return &health.Verdict{Reason: v1alpha1.ReasonNotAccepted, Message: why + "; nothing is deployed for it"}, 0, nil
	}
	rel, ok := r.Known.Find(cmp.Or(m.Status.GatewayVersion, m.Status.Version))
	if !ok {
		return &health.Verdict{Reason: v1alpha1.ReasonNoMesh, Message: fmt.Sprintf(
			"Mesh %s has no control plane yet; see its conditions: kubectl get mesh.tulle.dev %s -o yaml", m.Name, m.Name,
		)}, 0, nil
	}
	in := render.Input{Mesh: m, Release: rel, Namespace: r.Namespace}
	if refused {
		if err := r.keep(ctx, in, gw, d); err != nil {
			return nil, 0, err
		}
		return &health.Verdict{Reason: v1alpha1.ReasonNotAccepted, Message: why +
			"; what was deployed for it before stays as it is, but serves nothing until the Gateway is accepted again"}, 0, nil
	}
	if age := r.Now().Sub(gw.CreationTimestamp.Time); d == nil && !judged(gw) && age < verdictWait {
		return nil, verdictWait - age, nil
	}
	st, err := r.standing(ctx, m, gw, d)
	if err != nil {
		return nil, 0, err
	}
	sets, err := r.sets(ctx, client.ObjectKeyFromObject(gw))
	if err != nil {
		return nil, 0, err
	}
	objects := render.Gateway(in, gw, st, sets...)
	taken, err := r.taken(ctx, gw, objects)
	if err != nil {
		return nil, 0, err
	}
	if taken != "" {
		if d != nil {
			if err := r.keep(ctx, in, gw, d); err != nil {
				return nil, 0, err
			}
		}
		return &health.Verdict{Reason: v1alpha1.ReasonNameTaken, Message: taken}, takenWait, nil
	}
	if verdict, err := r.applyAll(ctx, gw, d, objects); err != nil || verdict != nil {
		return verdict, apply.RefusedWait, err
	}
	v, err := r.judge(ctx, gw, sets, st.Service)
	return &v, 0, err
}

// deployment is the Gateway's Deployment, if there is one and it is the Gateway's.
func (r *Reconciler) deployment(ctx context.Context, gw *gwapiv1.Gateway) (*appsv1.Deployment, error) {
	d := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: gw.Namespace, Name: names.GatewayResource(gw.Name)}
	if err := r.Live.Get(ctx, key, d); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("get Deployment %s: %w", key, err)
	}
	if !belongs(d, gw) || !d.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	return d, nil
}

// standing is what is there already and decides how the objects are rendered.
func (r *Reconciler) standing(ctx context.Context, m *v1alpha1.Mesh, gw *gwapiv1.Gateway, d *appsv1.Deployment) (render.Standing, error) {
	var st render.Standing
	var err error
	if st.Service, err = r.serviceName(ctx, gw); err != nil {
		return st, err
	}
	scale := render.GatewayScale(m, gw)
	if scale.Autoscaling == nil {
		// The number goes back to the spec when the operator takes its own autoscaler away.
		ended, err := r.removeKind(ctx, gw, autoscalerKind())
		if err != nil {
			return st, err
		}
		if ended {
			st.Replicas = &scale.Replicas
			return st, nil
		}
	}
	st.Replicas = apply.Replicas(d, scale.Replicas, scale.Autoscaling != nil)
	return st, nil
}

// applyAll applies the objects of a Gateway and removes others that were made for it. The verdict is not
// nil if the API server refuses one. Before the first is created, the API server is asked about all of
// them, so that a Gateway is refused as a whole.
func (r *Reconciler) applyAll(ctx context.Context, gw *gwapiv1.Gateway, d *appsv1.Deployment, objects []render.Object) (*health.Verdict, error) {
	if d == nil {
		for _, o := range objects {
			if v, err := refusedBy(r.Apply.Try(ctx, o), "; nothing was deployed"); v != nil || err != nil {
				return v, err
			}
		}
	}
	for _, o := range objects {
		if v, err := refusedBy(r.applyOne(ctx, o, d), ""); v != nil || err != nil {
			return v, err
		}
	}
	return nil, r.remove(ctx, gw, objects)
}

// applyOne applies an object. A Deployment whose replicas are set must still be as it was read, or the
// number that an autoscaler has just set would be lost.
func (r *Reconciler) applyOne(ctx context.Context, o render.Object, d *appsv1.Deployment) error {
	if d != nil && o.GetKind() == "Deployment" {
		return r.Apply.ApplyAt(ctx, o, d.ResourceVersion)
	}
	return r.Apply.Apply(ctx, o)
}

// refusedBy turns a refusal of the API server into a verdict: the user can do something about it.
func refusedBy(err error, more string) (*health.Verdict, error) {
	if !apply.Refused(err) {
		return nil, err
	}
	return &health.Verdict{Reason: v1alpha1.ReasonRefused, Message: "the API server refuses an object of the Gateway" + more + ": " + err.Error()}, nil
}

// keep brings the proxies of a Gateway that cannot be deployed as its spec says to the mesh's release,
// so that an upgrade does not wait for them, and changes nothing else.
func (r *Reconciler) keep(ctx context.Context, in render.Input, gw *gwapiv1.Gateway, d *appsv1.Deployment) error {
	for _, o := range render.GatewayProxies(in, gw, render.Standing{Replicas: d.Spec.Replicas}) {
		taken, err := r.taken(ctx, gw, []render.Object{o})
		if err != nil {
			return err
		}
		if taken != "" {
			continue
		}
		if err := r.applyOne(ctx, o, d); err != nil {
			return err
		}
	}
	return nil
}
