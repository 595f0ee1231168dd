// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package apply

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/names"
)

// Taken is the error of an object whose name another object has that the operator did not create.
type Taken struct {
	// Object is "KIND NAMESPACE/NAME".
	Object string
}

// Error says what to do.
func (t *Taken) Error() string {
	return fmt.Sprintf("%s already exists and does not belong to the operator; it is left as it is. Delete or rename it, or have the operator adopt and change it: add the label %s=%s",
		t.Object, names.LabelManagedBy, names.Operator)
}

// TakenBy returns the Taken in an error; nil if there is none.
func TakenBy(err error) *Taken {
	var t *Taken
	if errors.As(err, &t) {
		return t
	}
	return nil
}

// ours returns the UID of the object of that name, or none if there is none. If the object lacks the label that the
// operator puts on everything it creates, the error is a *Taken. A user who may change an object may add that label
// and so hand the object over. The admission policy tulle-operator-objects checks the same when the change is made.
func (a *Applier) ours(ctx context.Context, o render.Object) (types.UID, error) {
	now := &metav1.PartialObjectMetadata{}
	now.SetGroupVersionKind(o.GroupVersionKind())
	err := a.live.Get(ctx, client.ObjectKeyFromObject(o), now)
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("get %s: %w", title(o), err)
	case now.Labels[names.LabelManagedBy] != names.Operator:
		return "", &Taken{Object: title(o)}
	}
	return now.UID, nil
}
