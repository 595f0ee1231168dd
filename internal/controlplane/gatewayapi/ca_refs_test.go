// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"testing"

	"tulle.dev/tulle/internal/controlplane/model"
)

// TestCopied: a status offers a command only for a name that a Secret can have.
func TestCopied(t *testing.T) {
	for at, want := range map[model.Key]bool{
		{Namespace: "shop", Name: "authority.example"}:    true,
		{Namespace: "shop", Name: "a; curl evil.example"}: false,
		{Namespace: "shop", Name: "$(id)"}:                false,
		{Namespace: "shop", Name: "-o"}:                   false,
		{Namespace: "shop", Name: ""}:                     false,
		{Namespace: "a b", Name: "authority"}:             false,
	} {
		if got := (CARef{Kind: "Secret", At: at}).copied(); (got != "") != want {
			t.Errorf("%q: %q", at, got)
		}
	}
}
