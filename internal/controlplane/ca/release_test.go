// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestOldAgent: what an agent of the release before sent (recorded by test/compat) is a request for a
// certificate, with a usable key.
func TestOldAgent(t *testing.T) {
	body, err := os.ReadFile(filepath.Join("..", "..", "protocol", "testdata", "0.2.0", "sign-request.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, refused := parseRequest(body)
	if refused != nil {
		t.Fatalf("refused: %+v", refused)
	}
	if r.Pod != "web" || r.PodUID != "0b7a" || time.Duration(r.Lifetime) != 24*time.Hour {
		t.Errorf("got %+v", r)
	}
	if _, err := publicKey(r.CSR); err != nil {
		t.Errorf("its CSR: %v", err)
	}
}
