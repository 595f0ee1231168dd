// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/preflight"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/pages"
)

// Limits of the questions of a preflight.
const (
	// groundEvery is how often they are asked while the preflight waits for something.
	groundEvery = 15 * time.Second
	// rightsAtOnce is how many rights are asked for at once: they are about a hundred.
	rightsAtOnce = 8
)

// lookedUpon is what an upgrade was seen to stand on last. Only one round runs at a time.
type lookedUpon struct {
	at     time.Time
	spec   int64
	ground preflight.Ground
}

// lookAtGround looks at what an upgrade stands on, in its preflight only: rights, kinds, quotas, budgets.
// The pods must have been looked at.
func (r *Reconciler) lookAtGround(ctx context.Context, m *v1alpha1.Mesh, o *plan.Observed) error {
	from, to, begins := plan.Preflight(m, *o, r.Known)
	if !begins {
		r.upon = nil
		return nil
	}
	if l := r.upon; l != nil && l.spec == m.Generation && r.Now().Sub(l.at) < groundEvery {
		o.Rollout.Ground = l.ground
		return nil
	}
	var g preflight.Ground
	var err error
	if g.Kubernetes, err = r.Version(); err != nil {
		return err
	}
	if g.Unserved, err = r.unserved(ctx, to.Kinds); err != nil {
		return err
	}
	if g.Denied, err = r.denied(ctx, plan.Rights(m, r.Namespace, from, to, o.Rollout.Pods)); err != nil {
		return err
	}
	err = lookAt(ctx, r, r.Namespace, func() *corev1.ResourceQuotaList { return &corev1.ResourceQuotaList{} }, func(list *corev1.ResourceQuotaList) error {
		g.Quotas = append(g.Quotas, list.Items...)
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.restarts(ctx, o, &g); err != nil {
		return err
	}
	r.upon = &lookedUpon{at: r.Now(), spec: m.Generation, ground: g}
	o.Rollout.Ground = g
	return nil
}

// lookAt lists what is in a namespace, in pages. An operator with the roles of an earlier release may not: then
// nothing is known of it, and the API server says it later.
func lookAt[L client.ObjectList](ctx context.Context, r *Reconciler, namespace string, fresh func() L, use func(L) error) error {
	if err := pages.Each(ctx, r.Live, fresh, use, client.InNamespace(namespace)); err != nil && !apierrors.IsForbidden(err) {
		return fmt.Errorf("list %T of namespace %s: %w", fresh(), namespace, err)
	}
	return nil
}

// unserved are the kinds that are not there, or not in that version.
func (r *Reconciler) unserved(ctx context.Context, list []release.Kind) ([]release.Kind, error) {
	var out []release.Kind
	for _, k := range list {
		served, err := kinds.Served(ctx, r.Live, k.Definition, k.Version)
		if apierrors.IsForbidden(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !served {
			out = append(out, k)
		}
	}
	return out, nil
}

// denied asks the API server which of the rights the operator does not have.
func (r *Reconciler) denied(ctx context.Context, rights []preflight.Right) ([]preflight.Right, error) {
	var mu sync.Mutex
	var out []preflight.Right
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(rightsAtOnce)
	for _, right := range rights {
		g.Go(func() error {
			resource, sub, _ := strings.Cut(right.Resource, "/")
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Verb: right.Verb, Group: right.Group, Resource: resource, Subresource: sub, Namespace: right.Namespace, Name: right.Name,
				},
			}}
			// Everybody may ask for himself; where even that was taken away, nothing is known.
			if err := r.Client.Create(ctx, review); err != nil && !apierrors.IsForbidden(err) {
				return fmt.Errorf("ask whether the operator may %s %s: %w", right.Verb, right.Resource, err)
			} else if err != nil || review.Status.Allowed {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, right)
			return nil
		})
	}
	err := g.Wait()
	return out, err
}

// restarts looks at the Deployments and the budgets of pods that can only be restarted. It decides about each while it
// reads them: their namespaces may have any number.
func (r *Reconciler) restarts(ctx context.Context, o *plan.Observed, g *preflight.Ground) error {
	for namespace, pods := range preflight.Restarted(o.Rollout.Pods) {
		err := lookAt(ctx, r, namespace, func() *policyv1.PodDisruptionBudgetList { return &policyv1.PodDisruptionBudgetList{} },
			func(list *policyv1.PodDisruptionBudgetList) error {
				for i := range list.Items {
					g.Budget(&list.Items[i], pods)
				}
				return nil
			})
		if err != nil {
			return err
		}
		err = lookAt(ctx, r, namespace, func() *appsv1.DeploymentList { return &appsv1.DeploymentList{} }, func(list *appsv1.DeploymentList) error {
			for i := range list.Items {
				g.Deployment(&list.Items[i], pods)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
