// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package rules checks who may import whom. The rules keep the halves of the
// house apart and its pure rooms pure; the list in rules_test.go is the whole
// of them, a reason beside each.
package rules
