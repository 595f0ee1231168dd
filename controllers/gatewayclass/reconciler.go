// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayclass

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwapixv1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"
	"sigs.k8s.io/gateway-api/pkg/consts"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/active"
	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/names"
)

// Reconciler writes the status of GatewayClasses and XMeshes; there are so few of them that it
// looks at all of them whenever something changes. All fields are read-only after Setup.
type Reconciler struct {
	Known  release.Catalog
	Kinds  *kinds.Catalog
	Client client.Client
	Cache  client.Reader
}

// Reconcile does one round for all objects of both kinds.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	facts, err := r.facts(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := r.classes(ctx, facts); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, r.meshes(ctx, facts)
}

func (r *Reconciler) facts(ctx context.Context) (Facts, error) {
	m, err := active.Mesh(ctx, r.Cache)
	if err != nil {
		return Facts{}, err
	}
	f := Facts{Mesh: m}
	if m != nil {
		f.Release, _ = r.Known.Find(m.Status.Version)
	}
	all := &metav1.PartialObjectMetadataList{}
	all.SetGroupVersionKind(kinds.Definition().GroupVersionKind())
	if err := r.Cache.List(ctx, all); err != nil {
		return Facts{}, fmt.Errorf("list CustomResourceDefinitions: %w", err)
	}
	for _, d := range all.Items {
		if strings.HasSuffix(d.Name, "."+gwapiv1.GroupName) || strings.HasSuffix(d.Name, "."+gwapixv1.GroupName) {
			f.Definitions = append(f.Definitions, Definition{d.Name, d.Annotations[consts.BundleVersionAnnotation], d.Annotations[consts.ChannelAnnotation]})
		}
	}
	return f, nil
}

func (r *Reconciler) classes(ctx context.Context, f Facts) error {
	if there, err := r.Kinds.Installed(ctx, kinds.GatewayAPI()); err != nil || !there {
		return err
	}
	var list gwapiv1.GatewayClassList
	if err := r.Cache.List(ctx, &list); err != nil {
		return fmt.Errorf("list GatewayClasses: %w", err)
	}
	for i := range list.Items {
		c := &list.Items[i]
		if c.Spec.ControllerName != names.ControllerName {
			continue
		}
		before := c.DeepCopy()
		c.Status = Class(c, f)
		if err := r.write(ctx, c, before, equality.Semantic.DeepEqual(before.Status, c.Status)); err != nil {
			return fmt.Errorf("patch status of GatewayClass %s: %w", c.Name, err)
		}
	}
	return nil
}

func (r *Reconciler) meshes(ctx context.Context, f Facts) error {
	if there, err := r.Kinds.Installed(ctx, kinds.XMesh()); err != nil || !there {
		return err
	}
	var list gwapixv1.XMeshList
	if err := r.Cache.List(ctx, &list); err != nil {
		return fmt.Errorf("list XMeshes: %w", err)
	}
	for i := range list.Items {
		x := &list.Items[i]
		if x.Spec.ControllerName != names.ControllerName {
			continue
		}
		before := x.DeepCopy()
		x.Status = XMesh(x, f)
		if err := r.write(ctx, x, before, equality.Semantic.DeepEqual(before.Status, x.Status)); err != nil {
			return fmt.Errorf("patch status of XMesh %s: %w", x.Name, err)
		}
	}
	return nil
}

func (r *Reconciler) write(ctx context.Context, after, before client.Object, same bool) error {
	if same {
		return nil
	}
	// A merge patch has all of a list: without the lock it would erase what another controller has written to
	// the conditions since the object was read.
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := r.Client.Status().Patch(ctx, after, patch, client.FieldOwner(names.FieldManager))
	if apierrors.IsConflict(err) {
		return nil // the change is on its way here, and this runs again
	}
	return client.IgnoreNotFound(err)
}

// Setup has the manager run the reconciler once the Gateway API is installed.
func (r *Reconciler) Setup(mgr ctrl.Manager, gate *kinds.Gate) error {
	c, err := controller.New("gatewayclass", mgr, controller.Options{Reconciler: r})
	if err != nil {
		return fmt.Errorf("set up controller gatewayclass: %w", err)
	}
	all := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{}}
	})
	watch := func(list ...client.Object) func() error {
		return func() error {
			for _, o := range list {
				if err := c.Watch(source.Kind(mgr.GetCache(), o, all)); err != nil {
					return fmt.Errorf("watch %T: %w", o, err)
				}
			}
			return nil
		}
	}
	gate.When(kinds.GatewayAPI(), watch(&gwapiv1.GatewayClass{}, &v1alpha1.Mesh{}, kinds.Definition()))
	gate.When(kinds.XMesh(), watch(&gwapixv1.XMesh{}))
	return nil
}
