// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package licenses finds the licences of Go modules in the module cache and
// decides which of them are allowed.
//
// It owns the list of allowed licences and the exceptions to it. It must not
// know what the modules are used for beyond one question: is the module part
// of a published image, or only of tools and tests.
//
// Invariant: a module whose licence text is not recognised is never allowed
// without an exception that names the module and gives a reason.
//
// Start reading at Judge.
package licenses
