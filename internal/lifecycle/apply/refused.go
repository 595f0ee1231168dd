// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package apply

import (
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// RefusedWait is how long to wait before the next try after a Refused error: the refusal may depend on admission,
// a quota or a right, none of which is watched.
const RefusedWait = 30 * time.Second

// Refused reports whether the API server refused a request for its content or for lack of a right, so that a user
// has to change something first. It is false for nil.
func Refused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}
