// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package apply

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/names"
)

// Applier applies and deletes. Safe for concurrent use.
type Applier struct {
	client client.Client
	// core is of the API group of pods.
	core rest.Interface
	// seen looks up the metadata of objects, from a cache; live from the API server.
	seen, live client.Reader

	mu   sync.Mutex
	left map[string]trace // guarded by mu
}

// trace is how an object was left: what was applied, and the resource version that came of it.
type trace struct {
	sum     [sha256.Size]byte
	version string
}

// New makes an Applier. core is of the API group of pods. seen may be a cache that lags: at worst, an
// object is applied once more. live must not be a cache.
func New(c client.Client, core rest.Interface, seen, live client.Reader) *Applier {
	return &Applier{client: c, core: core, seen: seen, live: live, left: map[string]trace{}}
}

// Steps does the steps of a plan in order. It stops at the first step of which an object can't be applied, created or
// deleted, and returns that as err. A pod that can't be changed or evicted ends no step, since no later step depends on
// it: pods are the errors of these.
func (a *Applier) Steps(ctx context.Context, steps []plan.Step) (pods, err error) {
	var failed []error
	for _, s := range steps {
		of, err := a.step(ctx, s)
		if of != nil {
			failed = append(failed, fmt.Errorf("step %q: %w", s.Name, of))
		}
		if err != nil {
			return errors.Join(failed...), fmt.Errorf("step %q: %w", s.Name, err)
		}
	}
	return errors.Join(failed...), nil
}

func (a *Applier) step(ctx context.Context, s plan.Step) (pods, err error) {
	for _, o := range s.Apply {
		if err := a.Apply(ctx, o); err != nil {
			return nil, err
		}
	}
	for _, o := range s.Create {
		if err := a.create(ctx, o); err != nil {
			return nil, err
		}
	}
	var unchanged, left []error
	for _, m := range s.Moves {
		if err := a.move(ctx, m); err != nil {
			unchanged = append(unchanged, err)
		}
	}
	for _, p := range s.Evict {
		if err := a.evict(ctx, p); err != nil {
			unchanged = append(unchanged, err)
		}
	}
	// An object that can't be deleted doesn't hold up the others of its step.
	for _, r := range s.Delete {
		if err := a.Delete(ctx, r); err != nil {
			left = append(left, err)
		}
	}
	return errors.Join(unchanged...), errors.Join(left...)
}

// Apply makes the object as given, unless it was left just so and nobody has touched it since. If there is
// an object of the name that the operator did not create, it is left as it is, and the error is a *Taken. An
// own ConfigMap that something else has made immutable is deleted and created again.
func (a *Applier) Apply(ctx context.Context, o render.Object) error { return a.ApplyAt(ctx, o, "") }

// ApplyAt is Apply to an object that still has the resource version; otherwise it returns a conflict. If
// version is empty, any will do.
func (a *Applier) ApplyAt(ctx context.Context, o render.Object, version string) error {
	fields, err := json.Marshal(o.Object)
	if err != nil {
		return fmt.Errorf("marshal %s: %w", title(o), err)
	}
	sum := sha256.Sum256(fields)
	if a.untouched(ctx, o, sum) {
		return nil
	}
	uid, err := a.ours(ctx, o)
	if err != nil {
		return err
	}
	sent := o.DeepCopy()
	sent.SetResourceVersion(version)
	write := func() error {
		return a.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(sent), client.FieldOwner(names.FieldManager), client.ForceOwnership)
	}
	if err = write(); immutable(err) {
		if err = a.Delete(ctx, plan.Ref{GroupVersionKind: o.GroupVersionKind(), NamespacedName: client.ObjectKeyFromObject(o), UID: uid}); err == nil {
			sent = o.DeepCopy()
			err = write()
		}
	}
	if err != nil {
		return fmt.Errorf("apply %s: %w", title(o), err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left[key(o)] = trace{sum: sum, version: sent.GetResourceVersion()}
	return nil
}

// immutable tells whether the API server refused a change because the ConfigMap is immutable.
func immutable(err error) bool {
	return apierrors.IsInvalid(err) && strings.Contains(err.Error(), "field is immutable when `immutable` is set")
}

// Try asks the API server whether it would take the object, and changes nothing.
func (a *Applier) Try(ctx context.Context, o render.Object) error {
	err := a.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.FieldOwner(names.FieldManager), client.ForceOwnership, client.DryRunAll)
	if err != nil {
		return fmt.Errorf("apply %s: %w", title(o), err)
	}
	return nil
}

func (a *Applier) untouched(ctx context.Context, o render.Object, sum [sha256.Size]byte) bool {
	a.mu.Lock()
	last, ok := a.left[key(o)]
	a.mu.Unlock()
	if !ok || last.sum != sum {
		return false
	}
	now := &metav1.PartialObjectMetadata{}
	now.SetGroupVersionKind(o.GroupVersionKind())
	if err := a.seen.Get(ctx, client.ObjectKeyFromObject(o), now); err != nil {
		// Gone, or not to be seen: apply and find out.
		return false
	}
	return now.ResourceVersion == last.version && now.DeletionTimestamp.IsZero()
}

// create makes an object that is not there and leaves one that is.
func (a *Applier) create(ctx context.Context, o render.Object) error {
	err := a.client.Create(ctx, o.DeepCopy(), client.FieldOwner(names.FieldManager))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create %s: %w", title(o), err)
	}
	return nil
}

// Delete deletes an object, if it is there and still the one that was seen. A kind that is not
// installed any more has no objects.
func (a *Applier) Delete(ctx context.Context, r plan.Ref) error {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(r.GroupVersionKind)
	o.Namespace, o.Name = r.Namespace, r.Name
	opts := []client.DeleteOption{client.PropagationPolicy(metav1.DeletePropagationBackground)}
	if r.UID != "" {
		opts = append(opts, client.Preconditions{UID: &r.UID})
	}
	err := a.client.Delete(ctx, o, opts...)
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || meta.IsNoMatchError(err) {
		return nil
	}
	return fmt.Errorf("delete %s: %w", title(o), err)
}

func key(o client.Object) string {
	return o.GetObjectKind().GroupVersionKind().GroupKind().String() + " " + o.GetNamespace() + "/" + o.GetName()
}

// title is how errors call an object, "Deployment tulle-system/tulle-controlplane-0-2-0".
func title(o client.Object) string {
	kind := o.GetObjectKind().GroupVersionKind().Kind
	if o.GetNamespace() == "" {
		return kind + " " + o.GetName()
	}
	return kind + " " + o.GetNamespace() + "/" + o.GetName()
}
