// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"os"
	"strings"
	"testing"

	"tulle.dev/tulle/internal/lifecycle/release"
)

// TestUpToDate: the page says what the code does now.
func TestUpToDate(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reference/gateway-api.md")
	if err != nil {
		t.Fatal(err)
	}
	var now strings.Builder
	write(&now, release.Known("", ""))
	if string(page) != now.String() {
		t.Error(`docs/reference/gateway-api.md is out of date: run "make reference"`)
	}
}

// TestHow: each feature of the Gateway API is explained, and nothing else is.
func TestHow(t *testing.T) {
	text := how()
	for _, f := range sorted() {
		if text[string(f.Name)] == "" {
			t.Errorf("nothing says how %s is done", f.Name)
		}
		delete(text, string(f.Name))
	}
	for name := range text {
		t.Errorf("%s is no feature of the Gateway API", name)
	}
}
