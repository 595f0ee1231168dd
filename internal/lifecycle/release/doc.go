// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package release knows the versions of Tulle that this operator can run:
// their images, which features of the Gateway API each of them has, and which
// of them may follow which (step.go). An administrator's file (file.go) may say
// that images are elsewhere, and add releases.
//
// It knows no cluster and reads no file. Invariant: what a release says about
// itself never depends on which other releases are known. Start at Known.
package release
