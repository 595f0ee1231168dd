// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package models makes pieces of the model for tests of the translation: read
// from a golden case's in.yaml (Decode), or random (Random), and translates
// them one by one as the pipeline does (Input.Resources).
//
// It must not decide anything: what an Input says is what is translated.
// Invariant: the same seed gives the same Input.
package models
