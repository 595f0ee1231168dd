// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/lifecycle/render"
)

func typed[O client.Object](t *testing.T, from render.Object, into O) O {
	t.Helper()
	if err := admin.Scheme().Convert(from, into, nil); err != nil {
		t.Fatal(err)
	}
	return into
}
